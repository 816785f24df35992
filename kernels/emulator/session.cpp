#include "kernels/emulator/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>

#include "core/outcome.h"
#include "core/weights_layout.h"
#include "kernels/emulator/machine.h"
#include "kernels/gpu/device_weights.h"
#include "kernels/gpu/layer.h"
#include "kernels/gpu/library.h"
#include "kernels/guard.h"
#include "kernels/hip/convert.h"
#include "kernels/instance.h"

namespace fse {

EmulatorSession::EmulatorSession(std::shared_ptr<HostInstances> instances,
                                 std::shared_ptr<LaunchMemo> memo, const DeviceInfo& device,
                                 int host_threads, const LayerPlan& plan,
                                 std::vector<LayerWeights> sets)
    : instances_(std::move(instances)),
      memo_(std::move(memo)),
      device_(device),
      host_threads_(host_threads),
      plan_(plan),
      sets_(std::move(sets)) {
  check(!sets_.empty(), "a session has at least one weight set");
  for (LayerWeights& set : sets_) set = device_weights(set, fp8_of(device.arch));
  for (const Buffer& b : plan_.buffers) {
    Memory& m = memory_[static_cast<size_t>(b.id)];
    m.bytes.assign(static_cast<size_t>(b.bytes() + 2 * kGuardBytes), kGuard);
    m.begin = m.bytes.data() + kGuardBytes;
  }
}

const Buffer& EmulatorSession::buffer(Buf id) const {
  const Buffer* found = plan_.find(id);
  if (!found) throw std::logic_error("this plan has no buffer " + to_name(id));
  return *found;
}

void EmulatorSession::set_input(std::span<const float> x) {
  const Buffer& b = buffer(Buf::x);
  check(static_cast<int64_t>(x.size()) == b.rows * b.cols, "the input is [tokens, hidden]");
  const std::vector<std::byte> bytes = encode(b.element, x);
  std::memcpy(memory(Buf::x), bytes.data(), bytes.size());
}

void EmulatorSession::poison_buffers() {
  for (const Buffer& b : plan_.buffers)
    if (b.id != Buf::x) std::memset(memory(b.id), 0xff, static_cast<size_t>(b.bytes()));
}

Matrix EmulatorSession::read(Buf id) const {
  const Buffer& b = buffer(id);
  Matrix values(b.rows, b.cols);
  decode(b.element, {memory(id), static_cast<size_t>(b.bytes())},
         {values.data(), static_cast<size_t>(values.size())});
  return values;
}

void EmulatorSession::write(Buf id, const Matrix& values) {
  const Buffer& b = buffer(id);
  check(values.rows() == b.rows && values.cols() == b.cols, "a matrix has the shape of its buffer");
  const auto bytes =
      encode(b.element, std::span<const double>(values.data(), size_t(values.size())));
  std::memcpy(memory(id), bytes.data(), bytes.size());
}

void EmulatorSession::compile(std::span<const int> steps, std::span<const Choice> choices) {
  std::vector<JitRequest> requests;
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = plan_.steps.at(static_cast<size_t>(steps[i]));
    const Choice& choice = choices[i];
    check(choice.kernel != nullptr && choice.kernel->op == step.op && choice.kernel->instance,
          step.name + " has a GPU kernel for its op");
    std::string why = choice.kernel->legal(choice.tile);
    if (why.empty()) why = choice.kernel->fits(choice.tile, plan_, step, device_);
    if (!why.empty())
      throw AttemptError(Status::illegal,
                         fmt::format("{}: {} with tile '{}': {}", step.name, choice.kernel->name,
                                     to_text(choice.tile), why));
    if (auto request = instance_of(choice, plan_, step)) requests.push_back(*std::move(request));
  }
  instances_->prepare(requests);
}

gpu::Args EmulatorSession::args(const Step& step, int set) {
  BufferPointers at{};
  for (const Buffer& b : plan_.buffers) at[static_cast<size_t>(b.id)] = memory(b.id);
  gpu::Args a = gpu_args(plan_, step, at);
  const LayerWeights& w = sets_.at(static_cast<size_t>(set));
  a.router = w.router;
  a.selection_bias = w.selection_bias;
  a.gate_up = w.gate_up;
  a.down = w.down;
  a.gate_up_scale = w.gate_up_scale;
  a.down_scale = w.down_scale;
  a.barrier = barrier_.data();
  return a;
}

std::vector<DeviceMemory> EmulatorSession::device_memory(const Step& step, int set) const {
  std::vector<DeviceMemory> all{
      {"the grid barriers", barrier_.data(), barrier_.size() * sizeof barrier_[0], true, true}};
  const auto among = [](const std::vector<Buf>& some, Buf id) {
    return std::find(some.begin(), some.end(), id) != some.end();
  };
  for (const Buffer& b : plan_.buffers) {
    const bool stored = among(step.writes, b.id) || among(step.scratch, b.id);
    all.push_back({to_name(b.id), memory(b.id), static_cast<size_t>(b.bytes()),
                   stored || among(step.reads, b.id), stored});
  }
  const LayerWeights& w = sets_.at(static_cast<size_t>(set));
  const WeightsLayout l = weights_layout(w.layer, w.shard);
  const auto add = [&](const char* name, const void* begin, int64_t bytes) {
    if (begin) all.push_back({name, begin, static_cast<size_t>(bytes), true, false});
  };
  add("router", w.router, l.router_bytes);
  add("selection_bias", w.selection_bias, l.bias_bytes);
  add("gate_up", w.gate_up, l.indices * l.gate_up_elements() * l.element_bytes);
  add("down", w.down, l.indices * l.down_elements() * l.element_bytes);
  add("gate_up_scale", w.gate_up_scale, l.indices * l.gate_up_scales() * 4);
  add("down_scale", w.down_scale, l.indices * l.down_scales() * 4);
  return all;
}

void EmulatorSession::check_guards(const std::string& kernel) const {
  std::string damage;
  for (const Buffer& b : plan_.buffers)
    if (!take_guards(memory(b.id), b.bytes())) damage = stored_outside(to_name(b.id), b.bytes());
  if (!damage.empty()) throw AttemptError(Status::wrong, kernel + ": " + damage);
}

EmulatedLaunch EmulatorSession::launch_of(const gpu::Args& args, int step, const Choice& choice,
                                          int set) {
  const Step& s = plan_.steps[static_cast<size_t>(step)];
  const auto instance = instance_of(choice, plan_, s);
  if (!instance) return {};  // the library leaves nothing to do
  std::vector<DeviceMemory> memory = device_memory(s, set);
  if (args.products)
    memory.push_back({"products", products_.data(), products_.size() * sizeof(float), true, false});
  return {.kernel = instance->expression,
          .run = instances_->find(instance->expression),
          .args = &args,
          .memory = std::move(memory),
          .launch = choice.kernel->launch(choice.tile, plan_, s, device_),
          .wave = device_.wave,
          .cooperative = choice.kernel->cooperative,
          .seed = seed_++,
          .host_threads = host_threads_};
}

// What a vendor's library does on a real device.
void EmulatorSession::multiply(const Step& step, gpu::Args& a) {
  products_.resize(static_cast<size_t>(library_scratch_bytes(plan_, step)) / sizeof(float));
  a.products = products_.data();
  for (const Product& product : library_products(plan_, step, a)) multiply_on_host(product);
}

double EmulatorSession::launch(int step, const Choice& choice, int set) {
  const Step& s = plan_.steps[static_cast<size_t>(step)];
  gpu::Args a = args(s, set);
  const auto start = std::chrono::steady_clock::now();
  if (is_library(choice.kernel->name)) multiply(s, a);
  if (const EmulatedLaunch launch = launch_of(a, step, choice, set); !launch.kernel.empty()) {
    const std::string key = LaunchMemo::key(launch);
    if (!memo_->restore(key, launch)) {
      emulate(launch);
      check_guards(launch.kernel);
      memo_->keep(key, launch);
    }
  }
  const std::chrono::duration<double, std::micro> us = std::chrono::steady_clock::now() - start;
  return us.count();
}

std::optional<KernelCounters> EmulatorSession::count_step(int step, const Choice& choice, int set) {
  if (is_library(choice.kernel->name)) return std::nullopt;
  compile(std::array{step}, std::array{choice});
  const gpu::Args a = args(plan_.steps[static_cast<size_t>(step)], set);
  EmulatedLaunch launch = launch_of(a, step, choice, set);
  LaunchCounters counters(launch, device_.arch == "gfx950" ? 64 : 32);
  launch.counters = &counters;
  emulate(launch);
  check_guards(launch.kernel);
  return counters.result();
}

RunTimes EmulatorSession::run(std::span<const Choice> choices, int set) {
  check(choices.size() == plan_.steps.size(), "every step has a choice");
  std::vector<int> steps(choices.size());
  std::iota(steps.begin(), steps.end(), 0);
  compile(steps, choices);
  RunTimes times;
  for (int step : steps) {
    times.step_us.push_back(launch(step, choices[static_cast<size_t>(step)], set));
    times.layer_us += times.step_us.back();
  }
  return times;
}

double EmulatorSession::run_step(int step, const Choice& choice, int set) {
  compile(std::array{step}, std::array{choice});
  return launch(step, choice, set);
}

}  // namespace fse
