#include "kernels/emulator/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <string_view>
#include <vector>

#include "core/outcome.h"
#include "core/parallel.h"
#include "kernels/device/machine.h"
#include "kernels/emulator/stack_switch.h"

namespace fse {

namespace {

namespace context = boost::context;
using gpu::host::Machine;
using gpu::host::Where;

constexpr size_t kStackBytes = size_t{128} << 10;
constexpr size_t kGuardBytes = 1024;  // before and behind a block's LDS
constexpr unsigned char kGuard = 0xa5, kUnwritten = 0xff;

struct Copy {
  void* to;
  std::array<std::byte, 16> bytes;
};

// Threads that have to come to one place.
struct Meeting {
  std::vector<int> waiting;  // fibers
  std::vector<void*> operands;
  Where where{};
};

struct Block {
  std::vector<unsigned char> lds;
  Meeting all;
  std::vector<Meeting> waves;
};

enum class State { ready, waiting, yielded, done };

struct Fiber {
  context::fiber code, scheduler;
  int thread, block;  // block: within the group
  State state = State::ready;
  Where where{};
  std::deque<std::vector<Copy>> copies{1};  // groups; the last one is not committed yet
  Stack stack, outside{};                   // its own, and the scheduler's
  void* kept = nullptr;                     // see stack_switch.h
};

// Ends a fiber that waits in vain.
struct Cancelled {};

const char* file_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash ? slash + 1 : path;
}

// Some blocks of a launch, side by side on this thread.
class Group : public Machine {
 public:
  Group(const EmulatedLaunch& launch, int first_block, int count);
  ~Group();
  Group(const Group&) = delete;
  void run();

  int meet_block(const Where&);
  void meet_wave(void* mine, void (*work)(void* const*), const Where&);
  void leave(State);
  void moved() { progress_ = true; }
  Fiber& now() { return fibers_[static_cast<size_t>(now_)]; }

 private:
  void resume(int fiber);
  context::fiber run_thread(Fiber&, context::fiber&& scheduler);
  void release(Meeting&);
  [[noreturn]] void fail(const Fiber&, const std::string& what) const;
  void check_guards() const;
  [[noreturn]] void stuck() const;

  const EmulatedLaunch& launch_;
  int first_block_, now_ = 0;
  bool progress_ = false, cancelled_ = false;
  std::string failure_;
  std::vector<Block> blocks_;
  std::vector<Fiber> fibers_;
  std::vector<int> order_;
};

Group& group(Machine* m) {
  return *static_cast<Group*>(m);
}

void land(std::vector<Copy>& copies) {
  for (const Copy& copy : copies) std::memcpy(copy.to, copy.bytes.data(), 16);
}

Group::Group(const EmulatedLaunch& launch, int first_block, int count)
    : Machine{}, launch_(launch), first_block_(first_block) {
  threads = launch.launch.threads;
  blocks = launch.launch.blocks;
  block_sync = [](Machine* m, const Where& at) { group(m).meet_block(at); };
  together = [](Machine* m, void* mine, void (*work)(void* const*), const Where& at) {
    group(m).meet_wave(mine, work, at);
  };
  yield = [](Machine* m) { group(m).leave(State::yielded); };
  Machine::progress = [](Machine* m) { group(m).moved(); };
  copy16 = [](Machine* m, void* to, const void* from) {
    Copy copy{to, {}};
    std::memcpy(copy.bytes.data(), from, 16);
    group(m).now().copies.back().push_back(copy);
  };
  commit = [](Machine* m) { group(m).now().copies.emplace_back(); };
  wait = [](Machine* m, int pending) {
    auto& copies = group(m).now().copies;  // the open group is not one of the pending ones
    for (; copies.size() > static_cast<size_t>(pending) + 1; copies.pop_front())
      land(copies.front());
  };
  const auto lds_bytes = static_cast<size_t>(launch.launch.lds_bytes);
  blocks_.resize(static_cast<size_t>(count));
  for (Block& block : blocks_) {
    block.lds.assign(lds_bytes + 2 * kGuardBytes, kGuard);
    std::fill_n(block.lds.begin() + kGuardBytes, lds_bytes, kUnwritten);
    block.waves.resize(static_cast<size_t>(threads / launch.wave));
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

void Group::fail(const Fiber& fiber, const std::string& what) const {
  throw AttemptError(Status::wrong, fmt::format("{}, block {}, thread {}: {}", launch_.kernel,
                                                first_block_ + fiber.block, fiber.thread, what));
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

int Group::meet_block(const Where& where) {
  Fiber& fiber = now();
  Meeting& meeting = blocks_[static_cast<size_t>(fiber.block)].all;
  fiber.where = where;
  if (meeting.waiting.empty()) meeting.where = where;
  if (meeting.where.line != where.line && failure_.empty())
    failure_ =
        fmt::format("divergent barrier: block {}, thread {} is at {}:{} while others wait at {}:{}",
                    first_block_ + fiber.block, fiber.thread, file_name(where.file), where.line,
                    file_name(meeting.where.file), meeting.where.line);
  meeting.waiting.push_back(now_);
  if (static_cast<int>(meeting.waiting.size()) == threads) {
    release(meeting);
    return 0;
  }
  leave(State::waiting);
  return 0;
}

void Group::meet_wave(void* mine, void (*work)(void* const*), const Where& where) {
  Fiber& fiber = now();
  const auto wave = static_cast<size_t>(fiber.thread / launch_.wave);
  Meeting& meeting = blocks_[static_cast<size_t>(fiber.block)].waves[wave];
  fiber.where = where;
  if (meeting.waiting.empty()) meeting.where = where;
  if ((meeting.where.line != where.line ||
       std::strcmp(meeting.where.operation, where.operation) != 0) &&
      failure_.empty())
    failure_ = fmt::format(
        "lanes of a wave meet in different places: block {}, thread {} calls {} at {}:{}, others "
        "{} at {}:{}",
        first_block_ + fiber.block, fiber.thread, where.operation, file_name(where.file),
        where.line, meeting.where.operation, file_name(meeting.where.file), meeting.where.line);
  if (!failure_.empty()) return leave(State::waiting);
  meeting.operands[static_cast<size_t>(fiber.thread % launch_.wave)] = mine;
  meeting.waiting.push_back(now_);
  if (static_cast<int>(meeting.waiting.size()) < launch_.wave) return leave(State::waiting);
  work(meeting.operands.data());
  release(meeting);
}

void Group::resume(int index) {
  now_ = index;
  Fiber& fiber = now();
  thread = fiber.thread;
  block = first_block_ + fiber.block;
  lds = reinterpret_cast<char*>(blocks_[static_cast<size_t>(fiber.block)].lds.data()) + kGuardBytes;
  void* kept = nullptr;
  leaves_for(fiber.stack, &kept);
  fiber.code = std::move(fiber.code).resume();
  has_come(kept, nullptr);
}

void Group::stuck() const {
  for (const Fiber& fiber : fibers_)
    if (fiber.state == State::waiting)
      fail(fiber,
           fmt::format("waits in vain in {} at {}:{}: other threads never get there",
                       fiber.where.operation, file_name(fiber.where.file), fiber.where.line));
  for (const Fiber& fiber : fibers_)
    if (fiber.state == State::yielded)
      fail(fiber, "waits at a grid barrier that other blocks never reach");
  throw std::logic_error("no thread of a group can run, and none waits");
}

void Group::check_guards() const {
  for (size_t b = 0; b < blocks_.size(); ++b) {
    const std::vector<unsigned char>& lds = blocks_[b].lds;
    const auto intact = [&](size_t from) {
      return std::all_of(lds.begin() + static_cast<std::ptrdiff_t>(from),
                         lds.begin() + static_cast<std::ptrdiff_t>(from + kGuardBytes),
                         [](unsigned char byte) { return byte == kGuard; });
    };
    if (!intact(0) || !intact(lds.size() - kGuardBytes))
      throw AttemptError(
          Status::wrong,
          fmt::format("{}, block {}: a store outside its {} bytes of LDS", launch_.kernel,
                      first_block_ + static_cast<int>(b), launch_.launch.lds_bytes));
  }
}

void Group::run() {
  for (bool left = true; left;) {
    left = progress_ = false;
    for (int i : order_) {
      Fiber& fiber = fibers_[static_cast<size_t>(i)];
      if (fiber.state == State::ready || fiber.state == State::yielded) resume(i);
      left = left || fiber.state != State::done;
      if (!failure_.empty()) throw AttemptError(Status::wrong, launch_.kernel + ": " + failure_);
    }
    if (left && !progress_) stuck();
  }
  check_guards();
}

}  // namespace

void emulate(const EmulatedLaunch& launch) {
  const gpu::Launch& l = launch.launch;
  check(l.threads % launch.wave == 0, "a block is whole waves");
  if (launch.cooperative) return Group(launch, 0, l.blocks).run();
  parallel_for(l.blocks, launch.host_threads,
               [&](int64_t block) { Group(launch, static_cast<int>(block), 1).run(); });
}

}  // namespace fse
