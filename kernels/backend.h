#pragma once
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/device.h"
#include "core/kernel_counters.h"
#include "core/names.h"
#include "core/op.h"
#include "core/outcome.h"
#include "core/process_identity.h"
#include "kernels/catalog.h"
#include "kernels/microbench.h"

namespace fse {

// What a device is used for at the moment: each has a deadline of its own in a worker.
enum class Stage { prepare, compile, verify, screen, finals, layer_verify, layer_measure };
template <>
inline constexpr NameTable<Stage, 7> kNames<Stage>{{{Stage::prepare, "prepare"},
                                                    {Stage::compile, "compile"},
                                                    {Stage::verify, "verify"},
                                                    {Stage::screen, "screen"},
                                                    {Stage::finals, "finals"},
                                                    {Stage::layer_verify, "layer_verify"},
                                                    {Stage::layer_measure, "layer_measure"}}};

struct RunTimes {
  double layer_us = 0;
  std::vector<double> step_us;  // parallel to plan.steps
};

// One plan on one device: its buffers, and the weight sets it rotates over.
class Session {
 public:
  virtual ~Session() = default;
  // What the runs that follow are for; a device that fails to order minds, others do not.
  virtual void enter(Stage) {}
  virtual void set_input(std::span<const float> x) = 0;  // [tokens, hidden]
  virtual void poison_buffers() = 0;                     // everything but the input
  // The whole layer with the weights of set `set`, timed. Choices are parallel to plan.steps.
  virtual RunTimes run(std::span<const Choice> choices, int set) = 0;
  // One step alone on the buffers as they are; its time in microseconds.
  virtual double run_step(int step, const Choice& choice, int set) = 0;
  // The same from a graph, untimed, after run_step(); false where the device replays none.
  virtual bool replay_step(int /*step*/, const Choice&, int /*set*/) { return false; }
  // These are run soon: a GPU compiles them together. What fails is told when it is run.
  virtual void compile(int /*step*/, std::span<const Choice>) {}
  // What the compiler said of a step's kernel that ran; nothing where no such compiler made it.
  virtual std::optional<KernelResources> resources(int /*step*/, const Choice&) { return {}; }
  // Runs one step as run_step() does, and counts; nothing where the device cannot.
  virtual std::optional<KernelCounters> count_step(int /*step*/, const Choice&, int /*set*/) {
    return {};
  }
  // Bytes in use now: of this process, or of all that use the GPU.
  virtual int64_t memory_bytes() const { return resident_bytes(); }
  virtual Matrix read(Buf) const = 0;
  virtual void write(Buf, const Matrix&) = 0;
  // What no kernel may leave behind: NaN, ids of -1.
  virtual void poison_buffer(const Buffer& buffer) {
    const double value =
        buffer.element == Element::i32 ? -1 : std::numeric_limits<double>::quiet_NaN();
    write(buffer.id, Matrix::Constant(buffer.rows, buffer.cols, value));
  }
  virtual void evict_caches() = 0;  // cache=cold_all: activations leave the last-level cache too
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const DeviceInfo& device() const = 0;
  virtual std::unique_ptr<Session> open(const LayerPlan&, std::vector<LayerWeights> sets) = 0;
  // Measured now, all compute units busy: streaming read, GB/s (10^9), over `bytes` of memory that
  // is larger than the caches; and the multiply-add rate of what the kernels multiply with,
  // GFLOP/s: f32 on the cpu, matrix units on a GPU.
  virtual double measure_read_gbs() = 0;
  virtual double measure_peak_gflops() = 0;
  // What made the kernels, where it was not fselab's own compiler: the run-time compiler, the
  // driver and a hash of the kernels' sources and options. Results of others are not mixed with
  // these.
  virtual std::string kernel_toolchain() const { return {}; }
  // What its numbers are measured with for a model of it; nullptr: its times mean nothing.
  virtual std::unique_ptr<Microbench> microbench() { return nullptr; }
};

// What GPU backends need beside their device; decided above, never looked up here.
struct BackendConfig {
  std::filesystem::path device_dir;  // the folder of device headers
  std::filesystem::path cache_dir;   // of compiled kernels; empty: compiled anew by every process
  int compile_threads = 1;
};

// "cpu", "hip:0", "emu:gfx942", or "fault:DEVICE?..." (see kernels/fault/spec.h). Throws
// Error(environment) with the reason and what is there instead where the device cannot be used.
std::unique_ptr<Backend> open_backend(const std::string& device, const BackendConfig& = {});
std::vector<std::string> device_names();  // usable now, best first: what `auto` picks from

}  // namespace fse
