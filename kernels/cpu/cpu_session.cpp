#include "kernels/cpu/cpu_session.h"

#include <fmt/format.h>
#include <omp.h>
#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>

#include "core/error.h"
#include "core/outcome.h"
#include "kernels/cpu/measure.h"
#include "kernels/guard.h"

namespace fse {
namespace {

double microseconds(Instant from, Instant to) {
  return std::chrono::duration<double, std::micro>(to - from).count();
}

// A counter has a cache line of its own: threads hammer on it.
struct alignas(64) Counter {
  std::atomic<int64_t> value{0};
};

size_t index_of(Buf id) {
  return static_cast<size_t>(id);
}

// A tile from a database or a command line may be another version's: threads must not find out.
bool is_point(const Tile& tile, const std::vector<Axis>& axes) {
  return std::equal(tile.axes.begin(), tile.axes.end(), axes.begin(), axes.end(),
                    [](const auto& value, const Axis& axis) {
                      return value.first == axis.name &&
                             std::count(axis.values.begin(), axis.values.end(), value.second) > 0;
                    });
}

}  // namespace

struct CpuSession::Region {
  std::span<const Choice> choices;
  const LayerWeights& weights;
  std::vector<Phase> phases;
  Barrier everyone;
  std::vector<std::unique_ptr<Barrier>> lane_barriers;  // phase by phase, lane by lane
  std::vector<Counter> counters;
  std::vector<std::atomic<int>> done;
  std::vector<Instant> done_at;  // valid once done
  RunTimes times;

  const std::atomic<int>& given_up;

  Region(std::span<const Choice> chosen, const LayerWeights& set, std::vector<Phase> schedule,
         int threads, size_t steps, const std::atomic<int>& failed)
      : choices(chosen),
        weights(set),
        phases(std::move(schedule)),
        everyone(threads, failed),
        counters(steps),
        done(steps),
        done_at(steps),
        given_up(failed) {
    for (const Phase& phase : phases)
      for (const Lane& lane : phase)
        lane_barriers.push_back(std::make_unique<Barrier>(lane.threads, failed));
    times.step_us.assign(steps, 0);
  }
};

CpuSession::CpuSession(const LayerPlan& plan, std::vector<LayerWeights> sets,
                       const DeviceInfo& device)
    : plan_(plan),
      sets_(std::move(sets)),
      device_(device),
      scratch_(static_cast<size_t>(device.compute_units)) {
  check(!sets_.empty(), "a session has at least one weight set");
  for (const Buffer& b : plan_.buffers) {
    HostBuffer& storage = storage_[index_of(b.id)];
    storage = HostBuffer(b.bytes() + 2 * kGuardBytes);
    std::byte* begin = storage.data() + kGuardBytes;
    pointers_[index_of(b.id)] = begin;
    fill_guard(storage.data());
    fill_guard(begin + b.bytes());
    shield(b);
  }
}

// Under the address sanitizer the guards are red zones, too: not even a load may go there.
void CpuSession::shield(const Buffer& b) {
  std::byte* begin = storage_[index_of(b.id)].data();
  ASAN_POISON_MEMORY_REGION(begin, kGuardBytes);
  ASAN_POISON_MEMORY_REGION(begin + kGuardBytes + b.bytes(), kGuardBytes);
}

// 100 KB of compares: 10 us, outside what is timed.
void CpuSession::check_guards() {
  std::string damage;
  for (const Buffer& b : plan_.buffers) {
    HostBuffer& storage = storage_[index_of(b.id)];
    ASAN_UNPOISON_MEMORY_REGION(storage.data(), static_cast<size_t>(storage.bytes()));
    if (!take_guards(storage.data() + kGuardBytes, b.bytes()))
      damage = stored_outside(to_name(b.id), b.bytes());
    shield(b);
  }
  if (!damage.empty()) throw AttemptError(Status::wrong, damage);
}

const Buffer& CpuSession::buffer(Buf id) const {
  const Buffer* found = plan_.find(id);
  if (!found) throw std::logic_error("this plan has no buffer " + to_name(id));
  return *found;
}

void CpuSession::set_input(std::span<const float> x) {
  const Buffer& b = buffer(Buf::x);
  check(static_cast<int64_t>(x.size()) == b.rows * b.cols, "the input is [tokens, hidden]");
  std::memcpy(pointers_[index_of(Buf::x)], x.data(), x.size_bytes());
}

void CpuSession::poison_buffers() {
  for (const Buffer& b : plan_.buffers)
    if (b.id != Buf::x)
      poison({static_cast<std::byte*>(pointers_[index_of(b.id)]), static_cast<size_t>(b.bytes())});
}

void CpuSession::check_choice(const Step& step, const Choice& choice) const {
  check(choice.kernel != nullptr, step.name + " has a kernel");
  const KernelDef& kernel = *choice.kernel;
  check(kernel.op == step.op && kernel.run_cpu != nullptr,
        kernel.name + " is a cpu kernel for " + step.name);
  std::string why = is_point(choice.tile, kernel.axes) ? kernel.legal(choice.tile)
                                                       : "it is no point of the kernel's axes";
  if (why.empty()) why = kernel.fits(choice.tile, plan_, step, device_);
  if (!why.empty())
    fail_usage(fmt::format("{}: {} cannot run with tile '{}': {}", step.name, kernel.name,
                           to_text(choice.tile), why));
}

// Waits for what the step needs of other streams; when it could start, its lane being free since
// `start`.
Instant CpuSession::ready_at(Region& region, const Step& step, const Lane& lane,
                             Instant start) const {
  for (int needed : step.after) {  // of the own stream: done already
    const auto at = static_cast<size_t>(needed);
    if (plan_.steps[at].stream == step.stream || lane.threads == 0) continue;
    wait_for(region.done[at], region.given_up);
    start = std::max(start, region.done_at[at]);
  }
  return start;
}

// A step lasts from when its lane was free to when its last thread is done, whenever the threads
// notice: each may have lost its core in between.
void CpuSession::run_lane(Region& region, const Lane& lane, Barrier& barrier, int rank,
                          Scratch& scratch, Instant start) {
  for (int i : lane.steps) {
    const auto at = static_cast<size_t>(i);
    const Step& step = plan_.steps[at];
    start = ready_at(region, step, lane, start);
    Team team(rank, lane.threads, region.counters[at].value, scratch);
    region.choices[at].kernel->run_cpu({plan_, step, region.weights, pointers_},
                                       region.choices[at].tile, team);
    const Instant end = barrier.wait();
    if (rank == 0) {
      region.times.step_us[at] = microseconds(start, end);
      region.done_at[at] = end;
      region.done[at].store(1, std::memory_order_release);
    }
    start = end;
  }
}

void CpuSession::run_thread(Region& region, int rank) {
  const Instant start = region.everyone.wait();
  Instant now = start;
  size_t next_barrier = 0;
  for (const Phase& phase : region.phases) {
    int first = 0;  // rank of the lane's first thread
    for (const Lane& lane : phase) {
      Barrier& barrier = *region.lane_barriers[next_barrier++];
      if (rank >= first && rank < first + lane.threads)
        run_lane(region, lane, barrier, rank - first, scratch_[static_cast<size_t>(rank)], now);
      first += lane.threads;
    }
    now = region.everyone.wait();
  }
  if (rank == 0) region.times.layer_us = microseconds(start, now);
}

// A step on the threads that it has in the layer.
std::vector<Phase> CpuSession::alone(int step, int threads) const {
  const int own = plan_.steps[static_cast<size_t>(step)].threads;
  return {{{{step}, own == 0 ? threads : std::min(own, threads)}}};
}

// `steps`: what to run; all of them, or one alone.
RunTimes CpuSession::run_phases(std::span<const Choice> choices, int set,
                                const std::vector<int>& steps) {
  check(set >= 0 && set < static_cast<int>(sets_.size()), "the weight set exists");
  const bool whole = steps.size() == plan_.steps.size();
  std::optional<Region> region;
  std::atomic<int> ready{0}, given_up{0};
  std::exception_ptr failure;
  // OpenMP may give fewer threads than asked for: barriers count those that came. Waiting is done
  // by fselab's own means, which yield: OpenMP's barrier keeps its core from the one it waits for.
  const auto open_region = [&](int threads) {
    region.emplace(choices, sets_[static_cast<size_t>(set)],
                   whole ? make_phases(plan_, threads) : alone(steps.front(), threads), threads,
                   plan_.steps.size(), given_up);
    for (auto& flag : region->done)  // everything that is not to be run counts as done
      flag.store(whole ? 0 : 1, std::memory_order_relaxed);
    ready.store(1, std::memory_order_release);
  };
#pragma omp parallel num_threads(device_.compute_units)
  {
    try {  // nothing may leave the parallel region; the first failure is thrown behind it
      if (omp_get_thread_num() == 0) open_region(omp_get_num_threads());
      wait_for(ready, given_up);
      run_thread(*region, omp_get_thread_num());
    } catch (const GivenUp&) {
    } catch (...) {
      if (given_up.exchange(1) == 0) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  check_guards();
  return region->times;
}

RunTimes CpuSession::run(std::span<const Choice> choices, int set) {
  check(choices.size() == plan_.steps.size(), "every step has a choice");
  std::vector<int> steps;
  for (size_t i = 0; i < choices.size(); ++i) {
    check_choice(plan_.steps[i], choices[i]);
    steps.push_back(static_cast<int>(i));
  }
  return run_phases(choices, set, steps);
}

double CpuSession::run_step(int step, const Choice& choice, int set) {
  const auto at = static_cast<size_t>(step);
  check(at < plan_.steps.size(), "the step exists");
  check_choice(plan_.steps[at], choice);
  std::vector<Choice> choices(plan_.steps.size());
  choices[at] = choice;
  return run_phases(choices, set, {step}).step_us[at];
}

Matrix CpuSession::read(Buf id) const {
  const Buffer& b = buffer(id);
  Matrix m(b.rows, b.cols);
  const void* data = pointers_[index_of(id)];
  for (int64_t i = 0; i < b.rows * b.cols; ++i)
    m.data()[i] = b.element == Element::i32
                      ? static_cast<double>(static_cast<const int32_t*>(data)[i])
                      : static_cast<double>(static_cast<const float*>(data)[i]);
  return m;
}

void CpuSession::write(Buf id, const Matrix& m) {
  const Buffer& b = buffer(id);
  check(m.rows() == b.rows && m.cols() == b.cols, "a matrix has the shape of " + to_name(id));
  void* data = pointers_[index_of(id)];
  for (int64_t i = 0; i < b.rows * b.cols; ++i) {
    if (b.element == Element::i32)
      static_cast<int32_t*>(data)[i] = static_cast<int32_t>(m.data()[i]);
    else
      static_cast<float*>(data)[i] = static_cast<float>(m.data()[i]);
  }
}

void CpuSession::evict_caches() {
  if (eviction_.bytes() == 0) {
    eviction_ = HostBuffer(2 * device_.llc_bytes);
    // Memory that was never written is one page of zeros, and reading it evicts nothing.
    std::memset(eviction_.data(), 1, static_cast<size_t>(eviction_.bytes()));
  }
  stream_through({eviction_.data(), static_cast<size_t>(eviction_.bytes())}, device_.compute_units);
}

}  // namespace fse
