#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "core/names.h"

namespace fse {

// Links that each wait for the one before.
enum class Chain {
  graph,      // empty kernels in a graph
  stream,     // empty kernels launched from a stream
  touching,   // in a graph, kernels that load and store 4 KB per compute unit
  dependent,  // the same, each launched while its predecessor ends
  forked,     // the same beside one on a second stream, which forks off and joins again
  barrier,    // all blocks of one kernel wait for each other
};
template <>
inline constexpr NameTable<Chain, 6> kNames<Chain>{{{Chain::graph, "graph"},
                                                    {Chain::stream, "stream"},
                                                    {Chain::touching, "touching"},
                                                    {Chain::dependent, "dependent"},
                                                    {Chain::forked, "forked"},
                                                    {Chain::barrier, "barrier"}}};

// What a device's numbers are measured with. Every call measures once, in microseconds, and returns
// nothing where the device has no such thing.
class Microbench {
 public:
  virtual ~Microbench() = default;
  virtual std::optional<double> chain_us(Chain, int links) = 0;
  // `workgroups` read `footprint` bytes in all, `rounds` times, in every round another part each.
  virtual double read_us(int workgroups, int64_t footprint, int rounds) = 0;
  virtual double copy_us(int64_t bytes) = 0;  // read and written
  // Two streams read at the same time; with side_bytes 0, the first alone.
  virtual std::optional<double> shared_read_us(int64_t main_bytes, int64_t side_bytes) = 0;
  // fp8 weights widened to 16 bits, all compute units busy, 10^9 per second.
  virtual std::optional<double> widen_gops() = 0;

  struct Limits {
    double clock_ghz = 0;  // of the compute units at most
    double peak_gbs = 0;   // memory clock times bus width; 0: not known
    std::string driver;    // and what else the numbers depend on
  };
  virtual Limits limits() = 0;
};

}  // namespace fse
