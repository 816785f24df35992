#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace fse {

// What a device is and can do, as queried from it. Sizes in bytes.
struct DeviceInfo {
  std::string name;          // as written in YAML: cpu, hip:0, emu:gfx942, sim:mi355x
  std::string kind;          // cpu | hip | emu | sim
  std::string arch;          // cpu: the SIMD target in use, e.g. AVX3_ZEN4; GPUs: gfx942, sm_90
  std::string product;       // marketing name, data only, never a key
  int compute_units = 0;     // cpu: threads used
  int64_t memory_bytes = 0;  // what may be allocated
  int64_t llc_bytes = 0;     // the real last-level cache
  std::vector<DType> dtypes;
  bool graph = false;          // launch=graph
  bool experts_fused = false;  // experts=fused
  bool fp8_activations = false;
  bool half_activations = false;  // activations are stored in 16 bits: see Buf
  // GPUs only: what tiles are checked against.
  int wave = 0;                        // lanes of a wave
  int64_t lds_bytes = 0;               // one block may use
  int block_threads = 0;               // one block may have
  bool dependent_launch = false;       // a kernel may start before its predecessor has ended
  std::optional<std::string> library;  // the vendor's matrix products, where found: "cuBLASLt 13.1"
};

}  // namespace fse
