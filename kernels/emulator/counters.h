#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/op.h"
#include "kernels/device/machine.h"
#include "kernels/emulator/machine.h"

namespace fse {

inline constexpr int kLineBytes = 128;  // of a cache, on every GPU in question

// What a launch did with one buffer: bytes of all lanes, and distinct cache lines.
struct BufferTraffic {
  std::string name;
  int64_t loaded_bytes = 0, stored_bytes = 0;
  int64_t loaded_lines = 0, stored_lines = 0;
};

// What an emulated launch did. Accesses are counted as the source spells them; a compiler may join
// some.
struct KernelCounters {
  std::vector<BufferTraffic> buffers;
  int64_t loaded_bytes = 0, stored_bytes = 0;  // global memory, all lanes
  int64_t loaded_lines = 0, stored_lines = 0;  // distinct ones
  int64_t lds_bytes = 0;
  int64_t lds_cycles = 0;     // by the device's banks
  int64_t lds_conflicts = 0;  // cycles more than without any two words in one bank
  int64_t matrix_instructions = 0;
  double matrix_flops = 0;
  int64_t wave_accesses = 0;       // memory instructions of waves
  int64_t divergent_accesses = 0;  // of these, those that some lanes took no part in
};
std::string to_text(const KernelCounters&);

// Cycles that one access of a wave takes in LDS, and takes at least: lanes are served in groups as
// wide as the banks, a group once per distinct word of its busiest bank. AMD reads 16 bytes of 64
// lanes from 32 banks in its own groups (measured on MI300, ROCm's blog on bank conflicts); all
// others are neighbours.
struct LdsCost {
  int cycles, least;
};
LdsCost lds_cost(std::span<const int> at, uint64_t lanes, int bytes, bool load, int banks);

// Why a launch does not do what its op declares ("" = it does): weights read more than once, fewer
// matrix operations than the op has, or more than the padding of its tiles explains.
std::string why_not_as_declared(const KernelCounters&, const LayerPlan&, const Step&, const Load&,
                                double most_padding);

// Counts for one launch, from all its groups of blocks.
class LaunchCounters {
 public:
  LaunchCounters(const EmulatedLaunch&, int banks);
  KernelCounters result() const;

  // Of one group, by one thread.
  class Part {
   public:
    explicit Part(LaunchCounters&);
    ~Part();
    Part(const Part&) = delete;
    void lds(int wave, int lane, const void* code, int at, int bytes, bool load);
    void global(int wave, int lane, const void* code, size_t buffer, int64_t at, int bytes,
                bool load);
    void matrix(gpu::host::MatrixForm);

   private:
    struct Access {
      std::array<int, 64> at;
      uint64_t lanes = 0;
      int bytes = 0;
      bool load = false, lds = false;
    };
    struct Instruction {
      std::array<uint32_t, 64> visits{};
      std::map<uint32_t, Access> open;  // not all lanes have come yet, by visit
    };
    void note(int wave, int lane, const void* code, int at, int bytes, bool load, bool lds);
    void close(const Access&);
    LaunchCounters& all_;
    KernelCounters sum_;
    std::vector<std::vector<bool>> loaded_, stored_;  // lines, by buffer
    std::map<std::pair<int, const void*>, Instruction> instructions_;
  };

 private:
  const EmulatedLaunch& launch_;
  const int banks_;
  std::mutex mutex_;
  KernelCounters sum_;
  std::vector<std::vector<bool>> loaded_, stored_;
};

}  // namespace fse
