#pragma once
#include <filesystem>
#include <string>

namespace fse {

struct AssemblyOptions {
  std::string arch = "gfx942";  // or gfx90a, gfx950
  bool check = false;           // against the committed table, instead of printing a new one
  bool table = false;           // only the committed tables, of all architectures, for people
};
// Compiles the default tile of every kernel that the variants of some layers need, and a sample of
// the other legal tiles, and reads their assembly. Prints the table, or with `check` what got worse
// (then 1), or with `table` the committed tables as configs/assembly/README.md has them. Throws
// Error(environment) where the architecture's compiler is not there.
int run_assembly(const AssemblyOptions&, const std::filesystem::path& configs_dir);

// The committed rows of a kernel, by its catalogue name, for people; nothing where there are none.
void print_assembly(const std::string& kernel, const std::string& arch,
                    const std::filesystem::path& configs_dir);

}  // namespace fse
