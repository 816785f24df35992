#pragma once
#include <array>
#include <boost/context/fiber.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/machine.h"
#include "kernels/emulator/counters.h"
#include "kernels/emulator/lds_watch.h"
#include "kernels/emulator/machine.h"
#include "kernels/emulator/stack_switch.h"

// Blocks of a launch while they run: group.cpp gives threads their turns, group_access.cpp judges
// what they touch.
namespace fse::emulated {

using gpu::host::Machine;
using gpu::host::Where;

inline constexpr size_t kGuardBytes = 1024;  // before and behind a block's LDS

struct Copy {
  void* to;
  int bytes, group;
  std::array<std::byte, 16> data;
};

// Threads that have to come to one place.
struct Meeting {
  std::vector<int> waiting;  // fibers
  std::vector<void*> operands;
  Where where{};
};

struct Block {
  std::vector<unsigned char> lds;
  std::unique_ptr<LdsWatch> watch;
  std::vector<Where> copies;  // the lines that copy to LDS
  Meeting all;
  std::vector<Meeting> waves;
};

enum class State { ready, waiting, yielded, done };

struct Fiber {
  boost::context::fiber code, scheduler;
  int thread, block;  // block: within the group
  State state = State::ready;
  Where where{};
  std::vector<Copy> copies;  // that have not landed, oldest first
  int group = 0;             // of copies: the one that is not committed yet
  Stack stack, outside{};    // its own, and the scheduler's
  void* kept = nullptr;      // see stack_switch.h
};

// Where an access is: at a line it was told, or at that of an instruction.
struct Place {
  const Where* where;
  const void* code;
};

// Some blocks of a launch, side by side on this thread.
class Group : public Machine {
 public:
  Group(const EmulatedLaunch& launch, int first_block, int count);
  ~Group();
  Group(const Group&) = delete;
  void run();

  void meet_block(const Where&);
  template <class Operand, class Work>
  void meet_wave(Operand& mine, const Work& work, const Where&);
  void meet_wave(const Where&);
  void access(const char* at, int bytes, gpu::host::Access, const void* code);
  void copy(void* to, const void* from, int bytes, const Where&);
  void wait_copies(int pending);
  void check_lane(int lane, const Where&);
  void multiplies(gpu::host::MatrixForm form) {
    if (counter_) counter_->matrix(form);
  }
  void leave(State);
  void moved() { progress_ = true; }
  Fiber& now() { return fibers_[static_cast<size_t>(now_)]; }

 private:
  void resume(int fiber);
  boost::context::fiber run_thread(Fiber&, boost::context::fiber&& scheduler);
  void release(Meeting&);
  Block& block_now() { return blocks_[static_cast<size_t>(now().block)]; }
  std::string name_of(const Fiber&) const;
  void fault(const std::string& what);
  void lds_fault(const LdsWatch::Fault&, bool store, const std::string& line);
  std::string line_of(LdsWatch::Code);
  void access_global(const char* at, int bytes, bool store, const Place&);
  std::string nearest(const char* at) const;
  [[noreturn]] void stuck() const;

  const EmulatedLaunch& launch_;
  int first_block_, now_ = 0;
  int wave_now() { return now().block * (threads / launch_.wave) + now().thread / launch_.wave; }
  bool progress_ = false, cancelled_ = false;
  std::string failure_;
  std::vector<Block> blocks_;
  std::vector<Fiber> fibers_;
  std::vector<int> order_;
  std::vector<const DeviceMemory*> memory_;  // by address
  std::unique_ptr<LaunchCounters::Part> counter_;
};

std::string to_text(const Where&);  // "dispatch.h:55"

}  // namespace fse::emulated
