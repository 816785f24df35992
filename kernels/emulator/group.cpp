#include "kernels/emulator/group.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <span>

#include "core/outcome.h"
#include "kernels/emulator/matrix.h"

namespace fse::emulated {

namespace {

namespace context = boost::context;
using gpu::host::Access;
using gpu::host::Matrix;
using gpu::host::MatrixElement;
using gpu::host::MatrixForm;

constexpr size_t kStackBytes = size_t{128} << 10;
constexpr unsigned char kGuard = 0xa5, kUnwritten = 0xff;

// Ends a fiber that waits in vain.
struct Cancelled {};

struct Shuffle {
  int value, lane;
};

Group& group(Machine* m) {
  return *static_cast<Group*>(m);
}

int shuffle(Machine* m, int value, int lane, const Where& at) {
  group(m).check_lane(lane, at);
  Shuffle mine{value, lane};
  group(m).meet_wave(
      mine,
      [](std::span<Shuffle* const> lanes) {
        std::array<int, 64> values;
        for (size_t i = 0; i < lanes.size(); ++i) values[i] = lanes[i]->value;
        for (Shuffle* to : lanes) to->value = values[static_cast<size_t>(to->lane)];
      },
      at);
  return mine.value;
}

unsigned long long vote(Machine* m, bool value, const Where& at) {
  unsigned long long mine = value;
  group(m).meet_wave(
      mine,
      [](std::span<unsigned long long* const> lanes) {
        unsigned long long all = 0;
        for (size_t i = 0; i < lanes.size(); ++i) all |= *lanes[i] << i;
        for (auto* to : lanes) *to = all;
      },
      at);
  return mine;
}

void set_calls(Machine& machine) {
  machine.block_sync = [](Machine* m, const Where& at) { group(m).meet_block(at); };
  machine.wave_sync = [](Machine* m, const Where& at) { group(m).meet_wave(at); };
  machine.wave_index = [](Machine* m, const Where& at) {
    int nothing = 0;
    group(m).meet_wave(
        nothing, [](std::span<int* const>) {}, at);
  };
  machine.shuffle = shuffle;
  machine.vote = vote;
  machine.multiply = [](Machine* m, MatrixForm form, MatrixElement element, Matrix* mine,
                        const Where& at) {
    group(m).meet_wave(
        *mine,
        [&](std::span<Matrix* const> lanes) {
          group(m).multiplies(form);
          fse::multiply(form, element, lanes);
        },
        at);
  };
  machine.yield = [](Machine* m) { group(m).leave(State::yielded); };
  machine.progress = [](Machine* m) { group(m).moved(); };
  machine.copy = [](Machine* m, void* to, const void* from, int bytes, const Where& at) {
    group(m).copy(to, from, bytes, at);
  };
  machine.commit = [](Machine* m) { ++group(m).now().group; };
  machine.wait = [](Machine* m, int pending) { group(m).wait_copies(pending); };
  machine.access = [](Machine* m, const void* at, int bytes, Access access, const void* code) {
    group(m).access(static_cast<const char*>(at), bytes, access, code);
  };
}

}  // namespace

Group::Group(const EmulatedLaunch& launch, int first_block, int count)
    : Machine{}, launch_(launch), first_block_(first_block) {
  threads = launch.launch.threads;
  blocks = launch.launch.blocks;
  stack_bytes = kStackBytes;
  set_calls(*this);
  if (launch.counters) counter_ = std::make_unique<LaunchCounters::Part>(*launch.counters);
  for (const DeviceMemory& memory : launch.memory) memory_.push_back(&memory);
  std::sort(memory_.begin(), memory_.end(),
            [](const auto* a, const auto* b) { return a->begin < b->begin; });
  const auto lds_bytes = static_cast<size_t>(launch.launch.lds_bytes);
  blocks_.resize(static_cast<size_t>(count));
  for (Block& block : blocks_) {
    block.lds.assign(lds_bytes + 2 * kGuardBytes, kGuard);
    std::fill_n(block.lds.begin() + kGuardBytes, lds_bytes, kUnwritten);
    block.waves.resize(static_cast<size_t>(threads / launch.wave));
    block.watch =
        std::make_unique<LdsWatch>(launch.launch.lds_bytes, threads / launch.wave, launch.wave);
    for (Meeting& wave : block.waves) wave.operands.resize(static_cast<size_t>(launch.wave));
  }
  fibers_.resize(static_cast<size_t>(count * threads));
  for (size_t i = 0; i < fibers_.size(); ++i) {
    Fiber& fiber = fibers_[i];
    fiber.block = static_cast<int>(i) / threads;
    fiber.thread = static_cast<int>(i) % threads;
    fiber.code = context::fiber(std::allocator_arg, RecordedStack(kStackBytes, fiber.stack),
                                [this, &fiber](context::fiber&& scheduler) {
                                  return run_thread(fiber, std::move(scheduler));
                                });
    order_.push_back(static_cast<int>(i));
  }
  std::mt19937_64 random(launch.seed + static_cast<uint64_t>(first_block));
  std::shuffle(order_.begin(), order_.end(), random);
}

// What still waits is ended here, and not by its destructor: that would switch stacks unseen.
Group::~Group() {
  cancelled_ = true;
  for (int i : order_)
    if (fibers_[static_cast<size_t>(i)].state != State::done) resume(i);
}

context::fiber Group::run_thread(Fiber& fiber, context::fiber&& scheduler) {
  has_come(nullptr, &fiber.outside);
  fiber.scheduler = std::move(scheduler);
  try {
    if (!cancelled_) launch_.run(this, launch_.args);
  } catch (const Cancelled&) {
  }
  fiber.state = State::done;
  progress_ = true;
  leaves_for(fiber.outside, nullptr);
  return std::move(fiber.scheduler);
}

std::string Group::name_of(const Fiber& fiber) const {
  return fmt::format("{}, block {}, thread {}", launch_.kernel, first_block_ + fiber.block,
                     fiber.thread);
}

// Does not return but by the end of the fiber; the scheduler throws what went wrong.
void Group::fault(const std::string& what) {
  if (failure_.empty()) failure_ = fmt::format("{}: {}", name_of(now()), what);
  leave(State::waiting);
}

// AMD and NVIDIA would take it modulo the wave: a kernel that means that says so.
void Group::check_lane(int lane, const Where& where) {
  if (lane < 0 || lane >= launch_.wave)
    fault(fmt::format("{} from lane {} of {} at {}", where.operation, lane, launch_.wave,
                      to_text(where)));
}

void Group::leave(State state) {
  Fiber& fiber = now();
  fiber.state = state;
  leaves_for(fiber.outside, &fiber.kept);
  fiber.scheduler = std::move(fiber.scheduler).resume();
  has_come(fiber.kept, &fiber.outside);
  if (cancelled_) throw Cancelled{};
}

void Group::release(Meeting& meeting) {
  for (int i : meeting.waiting) fibers_[static_cast<size_t>(i)].state = State::ready;
  meeting.waiting.clear();
  progress_ = true;
}

void Group::meet_block(const Where& where) {
  Fiber& fiber = now();
  Meeting& meeting = block_now().all;
  fiber.where = where;
  if (meeting.waiting.empty()) meeting.where = where;
  if (meeting.where.line != where.line)
    fault(fmt::format("divergent barrier: it is at {}, others wait at {}", to_text(where),
                      to_text(meeting.where)));
  meeting.waiting.push_back(now_);
  if (static_cast<int>(meeting.waiting.size()) < threads) return leave(State::waiting);
  block_now().watch->block_meets();
  release(meeting);
}

template <class Operand, class Work>
void Group::meet_wave(Operand& mine, const Work& work, const Where& where) {
  Fiber& fiber = now();
  Meeting& meeting = block_now().waves[static_cast<size_t>(fiber.thread / launch_.wave)];
  fiber.where = where;
  if (meeting.waiting.empty()) meeting.where = where;
  if (meeting.where.line != where.line ||
      (meeting.where.operation != where.operation &&
       std::strcmp(meeting.where.operation, where.operation) != 0))
    fault(fmt::format(
        "lanes of a wave meet in different places: it calls {} at {}, others {} at {}",
        where.operation, to_text(where), meeting.where.operation, to_text(meeting.where)));
  meeting.operands[static_cast<size_t>(fiber.thread % launch_.wave)] = &mine;
  meeting.waiting.push_back(now_);
  if (static_cast<int>(meeting.waiting.size()) < launch_.wave) return leave(State::waiting);
  std::array<Operand*, 64> lanes;
  for (size_t i = 0; i < meeting.operands.size(); ++i)
    lanes[i] = static_cast<Operand*>(meeting.operands[i]);
  work(std::span<Operand* const>(lanes.data(), meeting.operands.size()));
  release(meeting);
}

void Group::meet_wave(const Where& where) {
  int nothing = 0;
  const int wave = now().thread / launch_.wave;
  meet_wave(
      nothing, [&](std::span<int* const>) { block_now().watch->wave_meets(wave); }, where);
}

void Group::resume(int index) {
  now_ = index;
  Fiber& fiber = now();
  thread = fiber.thread;
  block = first_block_ + fiber.block;
  stack = static_cast<const char*>(fiber.stack.base);
  lds = reinterpret_cast<char*>(blocks_[static_cast<size_t>(fiber.block)].lds.data()) + kGuardBytes;
  void* kept = nullptr;
  leaves_for(fiber.stack, &kept);
  fiber.code = std::move(fiber.code).resume();
  has_come(kept, nullptr);
}

void Group::stuck() const {
  const auto end = [&](const Fiber& fiber, const std::string& what) {
    throw AttemptError(Status::wrong, fmt::format("{}: {}", name_of(fiber), what));
  };
  for (const Fiber& fiber : fibers_)
    if (fiber.state == State::waiting)
      end(fiber, fmt::format("waits in vain in {} at {}: other threads never get there",
                             fiber.where.operation, to_text(fiber.where)));
  for (const Fiber& fiber : fibers_)
    if (fiber.state == State::yielded)
      end(fiber, "waits at a grid barrier that other blocks never reach");
  throw std::logic_error("no thread of a group can run, and none waits");
}

void Group::run() {
  for (bool left = true; left;) {
    left = progress_ = false;
    for (int i : order_) {
      Fiber& fiber = fibers_[static_cast<size_t>(i)];
      const State before = fiber.state;
      if (before == State::ready || before == State::yielded) resume(i);
      // One that has just begun to wait for memory has not looked at it yet.
      if (before == State::ready && fiber.state == State::yielded) progress_ = true;
      left = left || fiber.state != State::done;
      if (!failure_.empty()) throw AttemptError(Status::wrong, failure_);
    }
    if (left && !progress_) stuck();
  }
}

}  // namespace fse::emulated
