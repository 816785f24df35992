#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "core/kernel_counters.h"
#include "kernels/device/machine.h"
#include "kernels/emulator/machine.h"

namespace fse {

inline constexpr int kLineBytes = 128;  // of a cache, on every GPU in question

// Cycles that one access of a wave takes in LDS, and takes at least: lanes are served in groups as
// wide as the banks, a group once per distinct word of its busiest bank. AMD reads 16 bytes of 64
// lanes from 32 banks in its own groups (measured on MI300, ROCm's blog on bank conflicts); all
// others are neighbours.
struct LdsCost {
  int cycles, least;
};
LdsCost lds_cost(std::span<const int> at, uint64_t lanes, int bytes, bool load, int banks);

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
