#include <fmt/format.h>
#include <fmt/ranges.h>

#include <fstream>

#include "core/error.h"
#include "core/read_file.h"
#include "kernels/assembly.h"
#include "kernels/emulator/program.h"

namespace fse {

namespace {

namespace fs = std::filesystem;

constexpr const char* kDebian13 = "/var/cache/fselab/debian13";

[[noreturn]] void missing(const std::string& arch, const std::string& what) {
  throw Error(ErrorKind::environment, fmt::format("no compiler for {}: {}", arch, what));
}

// Device libraries older than the compiler lack the newest architectures; what they have for the
// one before is the same.
fs::path copy_bitcode(const fs::path& from, const std::string& have, const std::string& want) {
  const fs::path folder = temporary_folder();
  for (const auto& entry : fs::directory_iterator(from))
    if (entry.path().extension() == ".bc") fs::copy(entry.path(), folder);
  const auto name = [](const std::string& isa) { return "oclc_isa_version_" + isa + ".bc"; };
  if (!fs::exists(folder / name(want))) fs::copy(folder / name(have), folder / name(want));
  return folder;
}

std::string version_of(const std::vector<std::string>& command, const std::string& arch,
                       const std::string& how) {
  const fs::path folder = temporary_folder(), log = folder / "version";
  std::vector<std::string> words = command;
  words.push_back("--version");
  const int status = run_program(words, 1, log);
  const std::string text = read_file(log).value_or("");
  fs::remove_all(folder);
  if (status != 0) missing(arch, how);
  return text.substr(0, text.find('\n'));
}

AmdCompiler of_this_system(const std::string& arch) {
  const fs::path bitcode = "/usr/lib/x86_64-linux-gnu/amdgcn/bitcode";
  const std::string how = "expected Debian's clang-19 and rocm-device-libs";
  AmdCompiler compiler{.words = {"clang++-19"}};
  compiler.version = version_of(compiler.words, arch, how);
  if (!fs::exists(bitcode / "ocml.bc")) missing(arch, how);
  compiler.bitcode = copy_bitcode(bitcode, "940", "942");
  compiler.words.push_back("--rocm-path=/usr");
  return compiler;
}

// By its own loader, so that it needs no root and sees this system's files.
AmdCompiler of_debian13(const std::string& arch) {
  const fs::path root = kDebian13, llvm = root / "usr/lib/llvm-22";
  const std::string how = fmt::format("expected clang-22 in {}: .ci/gfx950 makes it", kDebian13);
  if (!fs::exists(llvm / "bin/clang")) missing(arch, how);
  AmdCompiler compiler{.words = {(root / "lib64/ld-linux-x86-64.so.2").string(), "--library-path",
                                 (root / "usr/lib/x86_64-linux-gnu").string(),
                                 (llvm / "bin/clang++").string()}};
  compiler.version = version_of(compiler.words, arch, how);
  compiler.bitcode =
      copy_bitcode(root / "usr/lib/llvm-17/lib/clang/17/amdgcn/bitcode", "942", "950");
  compiler.words.insert(
      compiler.words.end(),
      {"-resource-dir", (llvm / "lib/clang/22").string(), "--rocm-path=" + (root / "usr").string(),
       "-mcode-object-version=5", "-D__AMDGCN_WAVEFRONT_SIZE=64"});
  return compiler;
}

}  // namespace

AmdCompiler open_amd_compiler(const std::string& arch, const fs::path& device_dir) {
  if (arch != "gfx90a" && arch != "gfx942" && arch != "gfx950")
    fail_usage(
        fmt::format("architecture {}: expected gfx90a, gfx942 or gfx950, others have a run-time "
                    "compiler: fselab kernels show",
                    arch));
  AmdCompiler compiler = arch == "gfx950" ? of_debian13(arch) : of_this_system(arch);
  compiler.words.insert(
      compiler.words.end(),
      {"-x", "hip", "--offload-arch=" + arch, "--rocm-device-lib-path=" + compiler.bitcode.string(),
       "-D__HIP_PLATFORM_AMD__", "--cuda-device-only", "-S", "-O3", "-std=c++20", "-w", "-I",
       fs::absolute(device_dir).parent_path().parent_path().string()});
  return compiler;
}

std::string assembly_of(const AmdCompiler& compiler, const JitRequest& request) {
  const fs::path folder = temporary_folder();
  const fs::path input = folder / "instance.hip", output = folder / "instance.s",
                 log = folder / "log";
  std::ofstream(input) << fmt::format(
      "#include \"kernels/device/{}\"\nusing fse::gpu::Args;\n"
      "template __global__ void {}(const Args);\n",
      request.header, request.expression);
  std::vector<std::string> words = compiler.words;
  words.insert(words.end(), {input.string(), "-o", output.string()});
  const int status = run_program(words, 2, log);
  const std::string messages = read_file(log).value_or(""), text = read_file(output).value_or("");
  fs::remove_all(folder);
  if (status != 0)
    throw Error(ErrorKind::environment,
                fmt::format("{}: {}", request.expression, first_error(messages)));
  return text;
}

}  // namespace fse
