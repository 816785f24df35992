#pragma once
#include <string>
#include <vector>

#include "core/names.h"
#include "kernels/backend.h"

namespace fse {

// Everything that has gone wrong with a kernel under test, to order.
enum class Failure {
  hang,      // never comes back
  abort,     // the process aborts
  segfault,  // the process is killed by SIGSEGV
  exit,      // the process ends with code 3, without a word
  wrong,     // one element of the result is off
  nan,       // one element of the result is not a number
  launch,    // the launch (in stage compile: the compiler) reports an error
  sticky,    // the device is lost: this call and all that follow fail
  oom,       // an allocation fails
  slow,      // ten times the time
  fast,      // a tenth of the time
  zero,      // no time at all
};
template <>
inline constexpr NameTable<Failure, 12> kNames<Failure>{{{Failure::hang, "hang"},
                                                         {Failure::abort, "abort"},
                                                         {Failure::segfault, "segfault"},
                                                         {Failure::exit, "exit"},
                                                         {Failure::wrong, "wrong"},
                                                         {Failure::nan, "nan"},
                                                         {Failure::launch, "launch"},
                                                         {Failure::sticky, "sticky"},
                                                         {Failure::oom, "oom"},
                                                         {Failure::slow, "slow"},
                                                         {Failure::fast, "fast"},
                                                         {Failure::zero, "zero"}}};

struct Fault {
  Failure failure = Failure::hang;
  Stage stage = Stage::verify;
  // Which choice it strikes: the nth different one that reaches the stage in a process, or each
  // whose kernel and tile hold all the words; with neither every one.
  int nth = 0;
  std::vector<std::string> words;
};

// What stands behind "fault:".
//   DEVICE?ITEM&ITEM...        DEVICE: the real device below, e.g. cpu
//   ITEM: FAILURE=STAGE        every choice in that stage
//         FAILURE=STAGE@3      the third different choice that reaches the stage
//         FAILURE=STAGE@grouped_stage1+rows=4   whose kernel and tile hold these words
//         times=made           a time is 10 to 110 us, made from the kernel's name and the tile,
//                              and the ceilings are 100 GB/s and 1000 GFLOP/s: nothing is measured
struct FaultSpec {
  std::string device;
  std::vector<Fault> faults;
  bool made_times = false;
};

// Throws Error(usage) that names the item and what was expected.
FaultSpec parse_fault_spec(const std::string& text);

}  // namespace fse
