#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

namespace {

namespace fs = std::filesystem;

// A preprocessor line that asks which vendor, which of its architectures, or which of its compilers
// reads the file; and inline assembly or a builtin that only one of them knows.
bool is_vendor_condition(const std::string& line) {
  static const std::regex conditional(
      R"(^\s*#\s*(if|ifdef|ifndef|elif)\b.*(CUDA|NVCC|NVRTC|HIP|AMDGCN|AMDGPU|__gfx|FSE_GFX|FSE_NVIDIA|FSE_MFMA|FSE_MMA_SYNC))");
  return std::regex_search(line, conditional);
}

bool is_vendor_line(const std::string& line) {
  static const std::regex code(R"((\basm\b|__builtin_amdgcn|__nvvm|\w+_sync\(~0u))");
  return is_vendor_condition(line) || std::regex_search(line, code);
}

std::string first_vendor_line(const fs::path& file,
                              bool (*is_wanted)(const std::string&) = is_vendor_line) {
  std::ifstream in(file);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number)
    if (is_wanted(line))
      return file.filename().string() + ":" + std::to_string(number) + ": " + line;
  return "";
}

bool may_know_the_vendor(const fs::path& file) {
  const std::string name = file.filename().string();
  return name == "gpu.h" || name == "mma_tile.h" || name == "runtime.h";
}

}  // namespace

TEST_CASE("a vendor line is recognised") {
  CHECK(is_vendor_line("#if defined(__CUDACC__)"));
  CHECK(is_vendor_line("  #  ifdef __HIP_PLATFORM_AMD__"));
  CHECK(is_vendor_line("#elif defined(__gfx942__)"));
  CHECK(is_vendor_line("  asm volatile(\"bar.sync 1;\");"));
  CHECK(is_vendor_line("return __shfl_xor_sync(~0u, v, 1);"));
  CHECK_FALSE(is_vendor_line("#if FSE_HAS_NOTHING"));
  CHECK_FALSE(is_vendor_line("// asks CUDA nothing"));
}

TEST_CASE("only gpu.h, mma_tile.h and runtime.h ask for the vendor") {
  const fs::path device = fs::path(FSELAB_SOURCE_DIR) / "kernels" / "device";
  int headers = 0;
  for (const auto& entry : fs::directory_iterator(device)) {
    if (entry.path().extension() != ".h") continue;
    ++headers;
    if (!may_know_the_vendor(entry.path())) CHECK(first_vendor_line(entry.path()) == "");
  }
  CHECK(headers >= 10);
  CHECK(first_vendor_line(device / "gpu.h") != "");
}

TEST_CASE("no other folder asks for the vendor either") {
  int files = 0;
  for (const char* folder : {"core", "kernels", "tuner", "experiments", "reports"})
    for (const auto& entry :
         fs::recursive_directory_iterator(fs::path(FSELAB_SOURCE_DIR) / folder)) {
      const fs::path& file = entry.path();
      if ((file.extension() != ".h" && file.extension() != ".cpp") || may_know_the_vendor(file))
        continue;
      ++files;
      CHECK(first_vendor_line(file, is_vendor_condition) == "");
    }
  CHECK(files > 200);
}

TEST_CASE("device headers include nothing outside their folder") {
  const fs::path device = fs::path(FSELAB_SOURCE_DIR) / "kernels" / "device";
  const std::regex include(R"(^\s*#\s*include\s*[<"]([^>"]*)[>"])");
  for (const auto& entry : fs::directory_iterator(device)) {
    const std::string name = entry.path().filename().string();
    std::ifstream in(entry.path());
    std::string line;
    std::smatch match;
    while (std::getline(in, line)) {
      if (!std::regex_search(line, match, include)) continue;
      CAPTURE(name);
      CAPTURE(line);
      const std::string target = match[1];
      // hipcc ahead of time wants its runtime header; the run-time compilers do not see the line.
      const bool runtime_header = name == "gpu.h" && target == "hip/hip_runtime.h";
      CHECK((runtime_header || (target.rfind("kernels/device/", 0) == 0 &&
                                fs::exists(fs::path(FSELAB_SOURCE_DIR) / target))));
    }
  }
}
