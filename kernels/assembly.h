#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/jit.h"

namespace fse {

// What an AMD compiler made of one kernel instance, from its assembly.
struct Assembly {
  std::string instance;
  bool is_default = false;  // a default tile; else one of the sample
  int threads = 0;          // of a block
  int lds_bytes = 0;        // of a block: what the launch adds, and static LDS
  int vector_registers = 0, scalar_registers = 0;
  int spill_bytes = 0, stack_bytes = 0;  // of a thread
  std::string matrix;                    // "v_mfma_f32_16x16x16_bf16:16", sorted; "-": none
  // From global memory: of 16 bytes, and others: of less, or flat, which wait for LDS, too.
  int wide_loads = 0, narrow_loads = 0;
  int occupancy = 0;  // waves of a SIMD, by registers and LDS; 8 at most
  bool operator==(const Assembly&) const = default;
};

// Reads the text that -S gives for a single kernel; `lds_bytes` what its launch adds. Throws
// Error(data) where it is not such a text.
Assembly read_assembly(std::string_view text, const std::string& arch, int threads, int lds_bytes);

// A compiler for one architecture that is not the run-time one: clang-19 for gfx90a and gfx942,
// clang-22 of a Debian 13 beside this system for gfx950 (made by .ci/gfx950).
struct AmdCompiler {
  std::string version;
  std::vector<std::string> words;  // the command, but for input and output
  std::filesystem::path bitcode;   // a folder of its own, removed by whoever opened it
};
// Throws Error(environment) where it is not there, with what would make it.
AmdCompiler open_amd_compiler(const std::string& arch, const std::filesystem::path& device_dir);
// The assembly of one instance. Throws Error(environment) with the compiler's first error.
std::string assembly_of(const AmdCompiler&, const JitRequest&);

// The committed table of an architecture: tab-separated, the compiler in its first line.
struct AssemblyTable {
  std::string compiler;
  std::vector<Assembly> rows;
};
std::string to_text(const AssemblyTable&);
AssemblyTable read_assembly_table(const std::filesystem::path& file);  // throws Error(data)

// What got worse: a default tile that spills, static LDS that fits() knows nothing of, and beside
// the recorded row of the same compiler fewer wide loads, more narrow ones, other matrix
// instructions, more spills, fewer waves. A line each.
std::vector<std::string> regressions(const AssemblyTable& now, const AssemblyTable& recorded);

}  // namespace fse
