#pragma once
#include <map>
#include <memory>
#include <vector>

#include "kernels/backend.h"
#include "kernels/hip/launcher.h"

namespace fse {

// Times are those of events on the device. A layer of some microseconds is shorter than what an
// event resolves and a launch costs, so layers are timed by the batch, rotating over the weight
// sets, or as many of them as turn over the caches: as cold as the rotation makes them.
class HipSession final : public Session {
 public:
  HipSession(std::shared_ptr<HipDevice>, const LayerPlan&, std::vector<LayerWeights> sets);
  void set_input(std::span<const float> x) override;
  void poison_buffers() override;
  RunTimes run(std::span<const Choice> choices, int set) override;
  double run_step(int step, const Choice& choice, int set) override;
  bool replay_step(int step, const Choice& choice, int set) override;
  void compile(int step, std::span<const Choice>) override;
  std::optional<KernelResources> resources(int step, const Choice&) override;
  int64_t memory_bytes() const override;
  Matrix read(Buf) const override;
  void write(Buf, const Matrix&) override;
  void poison_buffer(const Buffer&) override;
  void evict_caches() override;

 private:
  using Prepared = Launcher::Prepared;
  template <class Enqueue>
  double time(const Enqueue&);
  hipStream_t main_stream() const { return launcher_.device().main_stream(); }
  void replay(const GraphExec&);

  void prepare_layer(std::span<const Choice> choices);
  void one_layer(int set);  // as the variant launches it
  double batch_of_layers();
  void cool_down(int set);
  std::vector<double> time_steps(int set);
  void prepare_step(int step, const Choice&);
  double batch_of_steps(int step, const Prepared&);
  std::vector<std::pair<Buf, DeviceMemory>> save_in_place(const Step&);
  void restore(const std::vector<std::pair<Buf, DeviceMemory>>&);
  int rotation_over(double bytes) const;
  int batch_size(double one_us, int sets) const;

  Launcher launcher_;
  bool graph_;
  bool evicted_ = false;  // the next run is timed alone: a batch would find its activations warm
  int last_set_ = 0;      // whose weights were read last
  int layer_sets_ = 1;    // that a batch of layers rotates over, whose weights find the caches cold
  std::vector<int> step_sets_;  // the same by step
  Event from_, to_;
  std::vector<Event> marks_;  // between steps
  DeviceMemory eviction_;

  // The layer as it was last run.
  std::vector<Choice> choices_;
  std::vector<Prepared> layer_;
  std::map<int, GraphExec> layer_graphs_;  // by weight set
  GraphExec batch_graph_;
  int batch_ = 0;  // layers in a batch; 0: not known yet

  // The step that was last run alone.
  int step_ = -1;
  Prepared step_choice_;
  GraphExec step_graph_;
  int step_batch_ = 0;
};

}  // namespace fse
