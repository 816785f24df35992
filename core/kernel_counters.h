#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/tile.h"

namespace fse {

// What a launch did with one buffer: bytes of all lanes, and distinct cache lines.
struct BufferTraffic {
  std::string name;
  int64_t loaded_bytes = 0, stored_bytes = 0;
  int64_t loaded_lines = 0, stored_lines = 0;
  bool operator==(const BufferTraffic&) const = default;
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
  bool operator==(const KernelCounters&) const = default;
  double conflict_share() const;   // of the LDS cycles; 0 without any
  double divergent_share() const;  // of the waves' accesses
};
std::string to_text(const KernelCounters&);

// One step's kernel as an emulated device ran it, beside what its op declares.
struct CountRecord {
  std::string step_key;
  std::string workload;  // what the tokens were: "golden qwen3_moe"
  std::string op, kernel;
  Tile tile;
  int64_t pairs = 0, active_experts = 0;  // of the routing, which bytes and flops depend on
  double bytes = 0, flops = 0;
  KernelCounters counters;
  std::string finding;  // in what it does not do as declared; "" = it does
};

}  // namespace fse
