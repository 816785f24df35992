#pragma once
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "kernels/blas_library.h"
#include "kernels/catalog.h"
#include "kernels/device/tiles.h"
#include "kernels/guard.h"
#include "kernels/hip/device.h"

namespace fse {

// One plan on one GPU: its buffers and weights there, and how its steps are put on the streams.
class Launcher {
 public:
  Launcher(std::shared_ptr<HipDevice>, const LayerPlan&, std::vector<LayerWeights> sets);

  // The vendor's library for one step: its products, and the memory that they share.
  struct LibraryCall {
    std::vector<BlasProduct> products;
    DeviceMemory workspace, scratch;
  };
  // A step ready to be launched with any weight set.
  struct Prepared {
    Choice choice;
    const LoadedKernel* kernel = nullptr;  // nullptr: the library leaves nothing to do
    gpu::Launch launch{};
    bool dependent = false;
    std::shared_ptr<const LibraryCall> library;  // goes first
  };
  // Compiles what is new and legal of one step's choices, in parallel; loads nothing.
  void compile(int step, std::span<const Choice>);
  // Compiles and loads what is new. Throws AttemptError(illegal | compile_failed), naming the step.
  Prepared prepare(int step, const Choice&);
  std::vector<Prepared> prepare(std::span<const Choice>);

  // On the main stream; `dependent` launches only where a kernel of this layer is in front.
  void enqueue_step(int step, const Prepared&, int set, bool follows_kernel = false);
  // Every step in order; what the plan puts on stream 1 goes to the side stream, which begins
  // behind the main one and is joined where its results are needed, at the latest at the end.
  // `follows_layer`: another one was enqueued just before, so even the first step may be dependent.
  void enqueue_layer(const std::vector<Prepared>&, int set, bool follows_layer = false);

  const LayerPlan& plan() const { return plan_; }
  int sets() const { return static_cast<int>(sets_.size()); }
  HipDevice& device() const { return *device_; }
  const Buffer& buffer(Buf) const;
  // Guards lie before and behind it: see guard.h.
  std::byte* memory(Buf id) const {
    return static_cast<std::byte*>(memory_[static_cast<size_t>(id)].get()) + kGuardBytes;
  }

 private:
  void make_joins();
  void add_request(const Step&, const Choice&, std::vector<JitRequest>&) const;
  std::shared_ptr<const LibraryCall> prepare_library(const Step&, const Tile&) const;
  void require_resident(const Step&, const Prepared&) const;
  gpu::Args args(const Step&, int set) const;
  void launch_on(hipStream_t, int step, const Prepared&, int set, bool follows_kernel);

  std::shared_ptr<HipDevice> device_;
  const LayerPlan plan_;
  const std::vector<LayerWeights> sets_;
  std::shared_ptr<const DeviceCopy> weights_;
  std::array<DeviceMemory, kBufCount> memory_;  // guard, buffer, guard
  DeviceMemory barrier_;
  std::vector<Event> done_;  // per step, only where the other stream waits for it
  Event begin_;              // of a layer with an overlapped stream
  int last_on_side_ = -1;    // step
};

}  // namespace fse
