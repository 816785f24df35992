#include "kernels/hip/launcher.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/outcome.h"
#include "kernels/gpu/layer.h"
#include "kernels/gpu/library.h"
#include "kernels/instance.h"

namespace fse {

Launcher::Launcher(std::shared_ptr<HipDevice> device, const LayerPlan& plan,
                   std::vector<LayerWeights> sets)
    : device_(std::move(device)),
      plan_(plan),
      sets_(std::move(sets)),
      weights_(device_->upload(sets_)),
      barrier_(allocate(gpu::kBarrierWords * 4)),
      begin_(make_event(/*timed=*/false)) {
  check(!sets_.empty(), "a session has at least one weight set");
  for (const Buffer& b : plan_.buffers) {
    const int64_t bytes = b.bytes() + 2 * kGuardBytes;
    DeviceMemory& memory = memory_[static_cast<size_t>(b.id)];
    memory = allocate(bytes);
    FSE_GPU(hipMemsetAsync(memory.get(), static_cast<int>(kGuard), static_cast<size_t>(bytes),
                           device_->main_stream()));
  }
  make_joins();
  FSE_GPU(hipMemsetAsync(barrier_.get(), 0, gpu::kBarrierWords * 4, device_->main_stream()));
}

void Launcher::make_joins() {
  const auto stream = [&](size_t i) { return plan_.steps[i].stream; };
  done_.resize(plan_.steps.size());
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    if (stream(i) == 1) last_on_side_ = static_cast<int>(i);
    for (int needed : plan_.steps[i].after)
      if (const auto at = static_cast<size_t>(needed); stream(at) != stream(i) && !done_[at])
        done_[at] = make_event(/*timed=*/false);
  }
  if (last_on_side_ < 0) return;
  if (Event& last = done_[static_cast<size_t>(last_on_side_)]; !last)
    last = make_event(/*timed=*/false);
}

const Buffer& Launcher::buffer(Buf id) const {
  const Buffer* found = plan_.find(id);
  if (!found) throw std::logic_error("this plan has no buffer " + to_name(id));
  return *found;
}

Launcher::Prepared Launcher::prepare(int step, const Choice& choice) {
  const Step& s = plan_.steps.at(static_cast<size_t>(step));
  check(choice.kernel != nullptr && choice.kernel->op == s.op && choice.kernel->instance,
        s.name + " has a GPU kernel for its op");
  const KernelDef& kernel = *choice.kernel;
  std::string why = kernel.legal(choice.tile);
  if (why.empty()) why = kernel.fits(choice.tile, plan_, s, device_->info());
  if (!why.empty())
    throw AttemptError(Status::illegal, fmt::format("{}: {} with tile '{}': {}", s.name,
                                                    kernel.name, to_text(choice.tile), why));
  Prepared ready{.choice = choice};
  ready.launch = kernel.launch(choice.tile, plan_, s, device_->info());
  for (const auto& [axis, value] : choice.tile.axes)
    if (axis == "dependent") ready.dependent = value != 0;
  if (is_library(kernel.name)) ready.library = prepare_library(s, choice.tile);
  if (const auto request = instance_of(choice, plan_, s))
    ready.kernel = &device_->load(*request, ready.launch.lds_bytes);
  if (kernel.cooperative) require_resident(s, ready);
  return ready;
}

std::shared_ptr<const Launcher::LibraryCall> Launcher::prepare_library(const Step& step,
                                                                       const Tile& tile) const {
  auto call = std::make_shared<LibraryCall>();
  if (const int64_t bytes = library_scratch_bytes(plan_, step); bytes > 0)
    call->scratch = allocate(bytes);
  std::vector<std::vector<Product>> alike;  // by product, for each set of weights
  for (int set = 0; set < sets(); ++set) {
    gpu::Args a = args(step, set);
    a.products = static_cast<float*>(call->scratch.get());
    const std::vector<Product> products = library_products(plan_, step, a);
    alike.resize(products.size());
    for (size_t i = 0; i < products.size(); ++i) alike[i].push_back(products[i]);
  }
  int64_t most = 0;
  for (const auto& products : alike) {
    call->products.emplace_back(device_->blas(), products, library_algo(tile),
                                library_workspace_bytes(tile));
    most = std::max(most, call->products.back().workspace_bytes());
  }
  if (most > 0) call->workspace = allocate(most);
  return call;
}

// Blocks that wait for one that is never started would wait forever.
void Launcher::require_resident(const Step& step, const Prepared& ready) const {
  int per_unit = 0;
  FSE_GPU(blocks_per_unit(&per_unit, ready.kernel->function, ready.launch.threads,
                          ready.launch.lds_bytes));
  const int resident = per_unit * device_->info().compute_units;
  if (ready.launch.blocks > resident)
    throw AttemptError(Status::launch_failed,
                       fmt::format("{}: {} blocks wait for each other, {} can be resident",
                                   step.name, ready.launch.blocks, resident));
}

void Launcher::add_request(const Step& step, const Choice& choice,
                           std::vector<JitRequest>& requests) const {
  if (!choice.kernel || !choice.kernel->legal(choice.tile).empty()) return;
  if (auto request = instance_of(choice, plan_, step)) requests.push_back(*std::move(request));
}

void Launcher::compile(int step, std::span<const Choice> choices) {
  std::vector<JitRequest> requests;
  for (const Choice& choice : choices)
    add_request(plan_.steps.at(static_cast<size_t>(step)), choice, requests);
  device_->compile(requests);
}

std::vector<Launcher::Prepared> Launcher::prepare(std::span<const Choice> choices) {
  check(choices.size() == plan_.steps.size(), "every step has a choice");
  std::vector<JitRequest> requests;
  for (size_t i = 0; i < choices.size(); ++i) add_request(plan_.steps[i], choices[i], requests);
  device_->compile(requests);
  std::vector<Prepared> ready;
  for (size_t i = 0; i < choices.size(); ++i)
    ready.push_back(prepare(static_cast<int>(i), choices[i]));
  return ready;
}

gpu::Args Launcher::args(const Step& step, int set) const {
  const LayerWeights& w = sets_.at(static_cast<size_t>(set));
  BufferPointers pointers{};
  for (const Buffer& b : plan_.buffers) pointers[static_cast<size_t>(b.id)] = memory(b.id);
  gpu::Args a = gpu_args(plan_, step, pointers);
  a.router = weights_->at(w.router);
  a.selection_bias = weights_->at(w.selection_bias);
  a.gate_up = weights_->at(w.gate_up);
  a.down = weights_->at(w.down);
  a.gate_up_scale = weights_->at(w.gate_up_scale);
  a.down_scale = weights_->at(w.down_scale);
  a.barrier = static_cast<unsigned*>(barrier_.get());
  return a;
}

void Launcher::launch_on(hipStream_t stream, int step, const Prepared& p, int set,
                         bool follows_kernel) {
  const Step& s = plan_.steps[static_cast<size_t>(step)];
  gpu::Args a = args(s, set);
  if (p.library) {
    a.products = static_cast<float*>(p.library->scratch.get());
    const std::vector<Product> products = library_products(plan_, s, a);
    for (size_t i = 0; i < products.size(); ++i)
      p.library->products[i].run(products[i], p.library->workspace.get(), stream);
  }
  if (!p.kernel) return;
  void* params[] = {&a};
  const auto blocks = static_cast<unsigned>(p.launch.blocks);
  const auto threads = static_cast<unsigned>(p.launch.threads);
  const auto lds_bytes = static_cast<unsigned>(p.launch.lds_bytes);
  const hipFunction_t kernel = p.kernel->function;
  // Beside a predecessor that ends, blocks become resident as it leaves: require_resident() has
  // counted them, and nothing else is launched.
  if (p.choice.kernel->cooperative && !p.dependent)
    FSE_GPU(launch_cooperative(kernel, blocks, threads, lds_bytes, stream, params));
  else
    FSE_GPU(
        launch(kernel, blocks, threads, lds_bytes, p.dependent && follows_kernel, stream, params));
}

void Launcher::enqueue_step(int step, const Prepared& p, int set, bool follows_kernel) {
  launch_on(device_->main_stream(), step, p, set, follows_kernel);
}

void Launcher::enqueue_layer(const std::vector<Prepared>& ready, int set, bool follows_layer) {
  const hipStream_t streams[] = {device_->main_stream(), device_->side_stream()};
  if (last_on_side_ >= 0) {
    FSE_GPU(hipEventRecord(begin_.get(), streams[0]));
    FSE_GPU(hipStreamWaitEvent(streams[1], begin_.get(), 0));
  }
  bool kernel_in_front[2] = {follows_layer && last_on_side_ < 0, false};
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    const Step& step = plan_.steps[i];
    for (int needed : step.after) {
      if (plan_.steps[static_cast<size_t>(needed)].stream == step.stream) continue;
      FSE_GPU(
          hipStreamWaitEvent(streams[step.stream], done_[static_cast<size_t>(needed)].get(), 0));
      kernel_in_front[step.stream] = false;
    }
    launch_on(streams[step.stream], static_cast<int>(i), ready[i], set,
              kernel_in_front[step.stream]);
    kernel_in_front[step.stream] = true;
    if (!done_[i]) continue;
    FSE_GPU(hipEventRecord(done_[i].get(), streams[step.stream]));
    kernel_in_front[step.stream] = false;
  }
  if (last_on_side_ >= 0)
    FSE_GPU(hipStreamWaitEvent(streams[0], done_[static_cast<size_t>(last_on_side_)].get(), 0));
}

}  // namespace fse
