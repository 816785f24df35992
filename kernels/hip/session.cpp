#include "kernels/hip/session.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/op.h"
#include "core/outcome.h"
#include "core/workload.h"
#include "kernels/hip/capture.h"
#include "kernels/hip/convert.h"

namespace fse {

namespace {

constexpr double kBatchUs = 200;  // events resolve about 1 us: 0.5 % of a batch

// What a step reads and writes at least: the tokens agree on their experts.
double least_bytes(const LayerPlan& plan, const Step& step) {
  Load load{std::vector<int64_t>(static_cast<size_t>(plan.expert_count()))};
  const auto routed = static_cast<size_t>(plan.layer.routing.experts);
  for (size_t e = 0; e < load.rows_per_expert.size(); ++e)
    if (e < static_cast<size_t>(plan.layer.routing.top_k) || e >= routed)
      load.rows_per_expert[e] = plan.tokens;
  return step_work(plan, step, load).bytes;
}

}  // namespace

HipSession::HipSession(std::shared_ptr<HipDevice> device, const LayerPlan& plan,
                       std::vector<LayerWeights> sets)
    : launcher_((device->use(), std::move(device)), plan, std::move(sets)),
      graph_(plan.variant.launch == Launch::graph),
      from_(make_event(/*timed=*/true)),
      to_(make_event(/*timed=*/true)) {
  for (size_t i = 0; i <= plan.steps.size(); ++i) marks_.push_back(make_event(/*timed=*/true));
  double bytes = 0;
  for (const Step& step : plan.steps) {
    const double of_step = least_bytes(plan, step);
    step_sets_.push_back(rotation_over(of_step));
    bytes += of_step;
  }
  layer_sets_ = rotation_over(bytes);
}

// There are as many sets as the smallest weights need. What reads more turns over the caches with
// fewer: rotating over all would take minutes for a large batch.
int HipSession::rotation_over(double bytes) const {
  return std::min(launcher_.sets(),
                  sets_for_rotation(static_cast<int64_t>(bytes),
                                    launcher_.device().info().llc_bytes, Cache::cold_weights));
}

void HipSession::set_input(std::span<const float> x) {
  const Buffer& b = launcher_.buffer(Buf::x);
  check(static_cast<int64_t>(x.size()) == b.rows * b.cols, "the input is [tokens, hidden]");
  launcher_.device().use();
  const std::vector<std::byte> bytes = encode(b.element, x);
  launcher_.device().copy(launcher_.memory(Buf::x), bytes.data(), b.bytes(), hipMemcpyHostToDevice);
}

void HipSession::poison_buffers() {
  for (const Buffer& b : launcher_.plan().buffers)
    if (b.id != Buf::x) poison_buffer(b);
  FSE_GPU(hipStreamSynchronize(main_stream()));
}

// All bits set are NaN in every floating type, and -1. Whatever is asked next is on the same
// stream.
void HipSession::poison_buffer(const Buffer& b) {
  launcher_.device().use();
  FSE_GPU(
      hipMemsetAsync(launcher_.memory(b.id), 0xff, static_cast<size_t>(b.bytes()), main_stream()));
}

int64_t HipSession::memory_bytes() const {
  launcher_.device().use();
  size_t free = 0, total = 0;
  FSE_GPU(hipMemGetInfo(&free, &total));
  return static_cast<int64_t>(total - free);
}

Matrix HipSession::read(Buf id) const {
  const Buffer& b = launcher_.buffer(id);
  launcher_.device().use();
  std::byte* const from = launcher_.memory(id) - kGuardBytes;
  std::vector<std::byte> bytes(static_cast<size_t>(b.bytes() + 2 * kGuardBytes));
  const auto all = static_cast<int64_t>(bytes.size());
  launcher_.device().copy(bytes.data(), from, all, hipMemcpyDeviceToHost);
  if (!take_guards(bytes.data() + kGuardBytes, b.bytes())) {
    launcher_.device().copy(from, bytes.data(), all, hipMemcpyHostToDevice);  // whole again
    throw AttemptError(Status::wrong, stored_outside(to_name(id), b.bytes()));
  }
  Matrix values(b.rows, b.cols);
  decode(b.element, std::span(bytes).subspan(kGuardBytes, static_cast<size_t>(b.bytes())),
         {values.data(), static_cast<size_t>(values.size())});
  return values;
}

void HipSession::write(Buf id, const Matrix& values) {
  const Buffer& b = launcher_.buffer(id);
  check(values.rows() == b.rows && values.cols() == b.cols, "a matrix has the shape of its buffer");
  launcher_.device().use();
  const auto bytes =
      encode(b.element, std::span<const double>(values.data(), size_t(values.size())));
  launcher_.device().copy(launcher_.memory(id), bytes.data(), b.bytes(), hipMemcpyHostToDevice);
}

void HipSession::evict_caches() {
  launcher_.device().use();
  const int64_t bytes = 2 * launcher_.device().info().llc_bytes;
  if (!eviction_) eviction_ = allocate(bytes);
  const hipStream_t stream = main_stream();
  FSE_GPU(hipMemsetAsync(eviction_.get(), 0, static_cast<size_t>(bytes), stream));
  FSE_GPU(hipStreamSynchronize(stream));
  evicted_ = true;
}

template <class Enqueue>
double HipSession::time(const Enqueue& enqueue) {
  return timed_us(main_stream(), from_, to_, enqueue);
}

void HipSession::replay(const GraphExec& graph) {
  FSE_GPU(hipGraphLaunch(graph.get(), main_stream()));
}

// Whole rotations, at least 200 us of them.
int HipSession::batch_size(double one_us, int sets) const {
  const double rotation_us = std::max(one_us, 0.5) * sets;
  return sets * std::max(1, static_cast<int>(std::ceil(kBatchUs / rotation_us)));
}

void HipSession::prepare_layer(std::span<const Choice> choices) {
  if (std::equal(choices.begin(), choices.end(), choices_.begin(), choices_.end())) return;
  choices_.clear();
  layer_ = launcher_.prepare(choices);
  layer_graphs_.clear();
  batch_graph_ = {};
  batch_ = 0;
  // Once outside any graph: modules may load lazily, and that cannot be captured.
  launcher_.enqueue_layer(layer_, 0);
  FSE_GPU(hipStreamSynchronize(main_stream()));
  choices_.assign(choices.begin(), choices.end());
}

void HipSession::one_layer(int set) {
  if (!graph_) return launcher_.enqueue_layer(layer_, set);
  GraphExec& graph = layer_graphs_[set];
  if (!graph) graph = capture(main_stream(), [&] { launcher_.enqueue_layer(layer_, set); });
  replay(graph);
}

// Set 0 to the last, several times over. The sets behind the one that was read last come first,
// untimed: the rotation has no gap, and nothing in the batch was read shortly before.
double HipSession::batch_of_layers() {
  const int sets = layer_sets_;
  if (batch_ == 0) {
    one_layer(last_set_);
    batch_ = batch_size(time([&] { one_layer(last_set_); }), sets);
  }
  const auto layers = [&] {
    for (int i = 0; i < batch_; ++i)
      launcher_.enqueue_layer(layer_, i % sets, /*follows_layer=*/i > 0);
  };
  if (graph_ && !batch_graph_) batch_graph_ = capture(main_stream(), layers);
  for (int set = std::min(last_set_ + 1, sets - 1); set < sets; ++set) one_layer(set);
  return time([&] { graph_ ? replay(batch_graph_) : layers(); }) / batch_;
}

// Behind a batch, which ended with the last set: half a rotation until a set is read again.
void HipSession::cool_down(int set) {
  const int half = layer_sets_ / 2;
  for (int i = 0; set >= half && set < layer_sets_ && i < half; ++i) one_layer(i);
}

// One step after the other on one stream, eagerly, with an event between.
std::vector<double> HipSession::time_steps(int set) {
  const hipStream_t stream = main_stream();
  FSE_GPU(hipEventRecord(marks_[0].get(), stream));
  for (size_t i = 0; i < layer_.size(); ++i) {
    launcher_.enqueue_step(static_cast<int>(i), layer_[i], set);
    FSE_GPU(hipEventRecord(marks_[i + 1].get(), stream));
  }
  std::vector<double> times;
  for (size_t i = 0; i < layer_.size(); ++i) times.push_back(elapsed_us(marks_[i], marks_[i + 1]));
  return times;
}

RunTimes HipSession::run(std::span<const Choice> choices, int set) {
  check(set >= 0 && set < launcher_.sets(), "the weight set exists");
  launcher_.device().use();
  prepare_layer(choices);
  RunTimes times;
  if (evicted_)
    times.layer_us = time([&] { one_layer(set); });
  else
    times.layer_us = batch_of_layers();
  evicted_ = false;
  cool_down(set);
  times.step_us = time_steps(set);
  // What is left in the buffers is what the variant's own launch wrote, over poison.
  poison_buffers();
  one_layer(set);
  last_set_ = set;
  FSE_GPU(hipStreamSynchronize(main_stream()));
  return times;
}

void HipSession::compile(int step, std::span<const Choice> choices) {
  launcher_.compile(step, choices);
}

std::optional<KernelResources> HipSession::resources(int step, const Choice& choice) {
  launcher_.device().use();
  const Prepared ready = launcher_.prepare(step, choice);
  if (ready.library) return std::nullopt;  // its own kernels' are not known
  const Resources& needs = ready.kernel->resources;
  return KernelResources{.registers = needs.registers,
                         .lds_bytes = needs.lds_bytes + ready.launch.lds_bytes,
                         .spill_bytes = needs.spill_bytes};
}

// Kernels that write what they read (renormalize, shared_add) would work on their own results in a
// batch: what they read is put back before the run that counts.
std::vector<std::pair<Buf, DeviceMemory>> HipSession::save_in_place(const Step& step) {
  std::vector<std::pair<Buf, DeviceMemory>> saved;
  for (Buf id : step.writes) {
    if (std::find(step.reads.begin(), step.reads.end(), id) == step.reads.end()) continue;
    const int64_t bytes = launcher_.buffer(id).bytes();
    saved.emplace_back(id, allocate(bytes));
    launcher_.device().copy(saved.back().second.get(), launcher_.memory(id), bytes,
                            hipMemcpyDeviceToDevice);
  }
  return saved;
}

void HipSession::restore(const std::vector<std::pair<Buf, DeviceMemory>>& saved) {
  for (const auto& [id, memory] : saved)
    launcher_.device().copy(launcher_.memory(id), memory.get(), launcher_.buffer(id).bytes(),
                            hipMemcpyDeviceToDevice);
}

double HipSession::batch_of_steps(int step, const Prepared& ready) {
  const int sets = step_sets_[static_cast<size_t>(step)];
  const auto once = [&](int set) { launcher_.enqueue_step(step, ready, set); };
  const auto batch = [&] {
    for (int i = 0; i < step_batch_; ++i)
      launcher_.enqueue_step(step, ready, i % sets, /*follows_kernel=*/i > 0);
  };
  if (step_batch_ == 0) {
    once(sets - 1);  // outside any graph first: modules may load lazily
    step_batch_ = batch_size(time([&] { once(sets - 1); }), sets);
    if (launcher_.device().info().graph) step_graph_ = capture(main_stream(), batch);
  }
  for (int set = std::min(last_set_ + 1, sets - 1); set < sets; ++set) once(set);
  return time([&] { step_graph_ ? replay(step_graph_) : batch(); }) / step_batch_;
}

void HipSession::prepare_step(int step, const Choice& choice) {
  if (step == step_ && choice == step_choice_.choice) return;
  step_ = -1;
  step_graph_ = {};
  step_batch_ = 0;
  step_choice_ = launcher_.prepare(step, choice);
  step_ = step;
}

bool HipSession::replay_step(int step, const Choice& choice, int set) {
  if (!launcher_.device().info().graph) return false;
  launcher_.device().use();
  prepare_step(step, choice);
  const GraphExec graph =
      capture(main_stream(), [&] { launcher_.enqueue_step(step, step_choice_, set); });
  replay(graph);
  FSE_GPU(hipStreamSynchronize(main_stream()));
  return true;
}

double HipSession::run_step(int step, const Choice& choice, int set) {
  check(set >= 0 && set < launcher_.sets(), "the weight set exists");
  launcher_.device().use();
  prepare_step(step, choice);
  const auto once = [&] { launcher_.enqueue_step(step, step_choice_, set); };
  if (evicted_) {
    evicted_ = false;
    return time(once);
  }
  const auto saved = save_in_place(launcher_.plan().steps[static_cast<size_t>(step)]);
  const double us = batch_of_steps(step, step_choice_);
  restore(saved);
  once();
  last_set_ = set;
  FSE_GPU(hipStreamSynchronize(main_stream()));
  return us;
}

}  // namespace fse
