#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/names.h"
#include "core/statistics.h"

namespace fse {

// How an attempt ended. Every candidate ends in exactly one of these, with its reason.
enum class Status {
  measured,
  illegal,
  compile_failed,
  launch_failed,
  wrong,
  timed_out,
  crashed,
  out_of_memory,
  suspect,
};
template <>
inline constexpr NameTable<Status, 9> kNames<Status>{{{Status::measured, "measured"},
                                                      {Status::illegal, "illegal"},
                                                      {Status::compile_failed, "compile_failed"},
                                                      {Status::launch_failed, "launch_failed"},
                                                      {Status::wrong, "wrong"},
                                                      {Status::timed_out, "timed_out"},
                                                      {Status::crashed, "crashed"},
                                                      {Status::out_of_memory, "out_of_memory"},
                                                      {Status::suspect, "suspect"}}};

// How far a result is from the reference.
struct Accuracy {
  double rel_frobenius = 0;  // ||got - want|| / ||want||
  double worst = 0;          // max |got - want| / rms(want)
  double bound = 0;          // on rel_frobenius
  std::string first_bad;     // "out[3,17] = nan, expected 0.25"; empty when within the bound
  bool ok() const { return first_bad.empty(); }
};

// What the compiler says that a GPU kernel needs: per thread, and of LDS per block with what its
// launch adds. No spills is what a good tile has.
struct KernelResources {
  int registers = 0, lds_bytes = 0, spill_bytes = 0;
  bool operator==(const KernelResources&) const = default;
};

struct Outcome {
  Status status = Status::illegal;
  std::string reason;                        // empty when measured
  Accuracy accuracy;                         // measured, wrong and suspect
  std::vector<double> samples_us;            // one per round, in order
  std::optional<KernelResources> resources;  // of a step on a GPU
  int64_t peak_bytes = 0;  // the most memory in use while a step was verified; 0: not known
};

// Thrown where running a kernel ends an attempt: `status` is what its Outcome becomes. Where the
// device is lost, nothing that is asked of it from here counts any more; a worker's is not: another
// worker takes its place.
class AttemptError : public Error {
 public:
  AttemptError(Status status, const std::string& reason)
      : AttemptError(status, reason, status == Status::crashed) {}
  AttemptError(Status status, const std::string& reason, bool device_lost)
      : Error(ErrorKind::environment, reason), status(status), device_lost(device_lost) {}
  Status status;
  bool device_lost;
};

}  // namespace fse
