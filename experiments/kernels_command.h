#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

// The layer, device and tile that an instance of a kernel is for.
struct KernelSubject {
  std::string model = "qwen3-next-80b-a3b";
  std::string dtype = "bf16";
  std::string arch = "sm_90";  // GPU kernels only
  int tokens = 16;
  std::string tile;  // "warps=8 ring=4": the default tile with these axes changed
};

struct ShowOptions {
  std::string kernel;
  KernelSubject subject;
  bool tiles = false;  // all that are legal
  bool source = false;
  bool assembly = false;
};
// Prints axes, legal tiles, and one instance: its name, launch and resources.
void show_kernel(const ShowOptions&, const std::filesystem::path& configs_dir);

struct CompileOptions {
  KernelSubject subject;
  bool all_tiles = false;  // every tile that is legal and fits; else the default ones
};
// Compiles what every legal variant of the layer needs; needs the compiler, not a GPU. Prints each
// failure and a count. Returns 0 when everything compiled, else 1.
int compile_kernels(const CompileOptions&, const std::filesystem::path& configs_dir);

}  // namespace fse
