#include "kernels/jit.h"

#include <doctest/doctest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "core/error.h"
#include "kernels/jit_cache.h"
#include "tests/temporary_folder.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScale = R"(
namespace fse {
struct ScaleTile {
  int threads;
  int unroll;
};
template <ScaleTile tile>
__global__ void __launch_bounds__(tile.threads) scale(float* x, float factor) {
  static_assert(tile.unroll > 0, "unroll must be positive");
  __shared__ float staged[tile.threads * tile.unroll];
  for (int i = 0; i < tile.unroll; ++i)
    staged[i * tile.threads + threadIdx.x] = x[i * tile.threads + threadIdx.x];
  __syncthreads();
  for (int i = 0; i < tile.unroll; ++i)
    x[i * tile.threads + threadIdx.x] = factor * staged[(threadIdx.x + 1) % tile.threads];
}
}  // namespace fse
)";

JitConfig tiny(fs::path cache = {}) {
  return {.headers = {{"kernels/device/scale.h", kScale}}, .cache_dir = std::move(cache)};
}

JitRequest scale_request(int threads, int unroll) {
  return {"scale.h", "fse::scale<fse::ScaleTile{" + std::to_string(threads) + "," +
                         std::to_string(unroll) + "}>"};
}

// The compilers of this machine; a test without any says so and is not counted as passed silently.
std::vector<std::string> architectures() {
  std::vector<std::string> found;
  for (const char* arch : {"sm_90", "gfx90a"}) {
    try {
      open_rtc(arch);
      found.push_back(arch);
    } catch (const Error& e) {
      MESSAGE("SKIPPED for " << arch << ": " << std::string(e.what()));
    }
  }
  return found;
}

using test::TemporaryFolder;

std::vector<fs::path> entries(const TemporaryFolder& folder) {
  std::vector<fs::path> list;
  for (const auto& entry : fs::directory_iterator(folder.path())) list.push_back(entry.path());
  return list;
}

CodeObject compiled(const Jit& jit, const JitRequest& request) {
  Compiled result = jit.compile(request);
  const auto* failed = std::get_if<CompileFailed>(&result);
  REQUIRE_MESSAGE(!failed, failed->log);
  return std::get<CodeObject>(std::move(result));
}

TEST_CASE("an instance compiles without a GPU and reports its resources") {
  for (const std::string& arch : architectures()) {
    CAPTURE(arch);
    const CodeObject object = compiled(Jit(tiny(), arch), scale_request(64, 4));
    CHECK(object.lowered_name.find("scale") != std::string::npos);
    CHECK(object.image.size() > 100);
    CHECK(object.resources.lds_bytes >= 64 * 4 * 4);
    CHECK(object.resources.lds_bytes < 64 * 4 * 4 + 2048);  // CUDA reserves 1 KB of each block's
    CHECK(object.resources.registers > 0);
    CHECK(object.resources.spill_bytes == 0);
    CHECK(!object.from_cache);
  }
}

TEST_CASE("an illegal tile comes back as the kernel's own words") {
  for (const std::string& arch : architectures()) {
    CAPTURE(arch);
    const Compiled result = Jit(tiny(), arch).compile(scale_request(64, 0));
    REQUIRE(std::holds_alternative<CompileFailed>(result));
    const auto& failed = std::get<CompileFailed>(result);
    CAPTURE(failed.reason);
    CHECK(failed.reason.starts_with("scale.h"));
    CHECK(failed.reason.find("unroll must be positive") != std::string::npos);
    CHECK(failed.reason.find('\n') == std::string::npos);
  }
}

TEST_CASE("a kernel that does not exist is a failed compilation") {
  for (const std::string& arch : architectures()) {
    CAPTURE(arch);
    const Jit jit(tiny(), arch);
    CHECK(std::holds_alternative<CompileFailed>(jit.compile({"scale.h", "fse::scales<1>"})));
    CHECK(std::holds_alternative<CompileFailed>(jit.compile({"missing.h", "fse::scale"})));
  }
}

TEST_CASE("the cache is advisory: deleted, damaged and unwritable entries cost only time") {
  for (const std::string& arch : architectures()) {
    CAPTURE(arch);
    const TemporaryFolder folder;
    const Jit jit(tiny(folder.path()), arch);
    const JitRequest request = scale_request(128, 2);
    const CodeObject first = compiled(jit, request);
    const CodeObject second = compiled(jit, request);
    CHECK(!first.from_cache);
    CHECK(second.from_cache);
    CHECK(second.image == first.image);
    CHECK(second.lowered_name == first.lowered_name);
    CHECK(second.resources == first.resources);
    REQUIRE(entries(folder).size() == 1);

    const fs::path entry = entries(folder)[0];
    const auto size = static_cast<long>(fs::file_size(entry));
    for (long at : {0L, 20L, 80L, size / 2, size - 1}) {  // any byte: magic, hash, JSON, image
      CAPTURE(at);
      std::fstream file(entry, std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(at);
      const char old = static_cast<char>(file.get());
      file.seekp(at);
      file.put(static_cast<char>(old ^ 0x40));
      file.close();
      const CodeObject again = compiled(jit, request);
      CHECK(!again.from_cache);
      CHECK(again.lowered_name == first.lowered_name);
      CHECK(compiled(jit, request).from_cache);  // replaced
    }
    for (long cut : {0L, 3L, size / 2}) {
      CAPTURE(cut);
      fs::resize_file(entry, static_cast<uintmax_t>(cut));
      CHECK(!compiled(jit, request).from_cache);
    }
    fs::remove(entry);
    CHECK(!compiled(jit, request).from_cache);
    CHECK(!compiled(Jit(tiny("/proc/no/such/folder"), arch), request).from_cache);
  }
}

TEST_CASE("the key holds whatever changes the code") {
  for (const std::string& arch : architectures()) {
    CAPTURE(arch);
    const JitRequest request = scale_request(64, 1);
    const Jit jit(tiny(), arch);
    JitConfig edited = tiny();
    edited.headers[0].text += " ";
    JitConfig renamed = tiny();
    renamed.headers[0].name += "x";
    JitConfig optioned = tiny();
    optioned.options = {"-DX=1"};
    CHECK(Jit(tiny(), arch).key(request) == jit.key(request));
    CHECK(jit.key(scale_request(64, 2)) != jit.key(request));
    CHECK(jit.key({"other.h", request.expression}) != jit.key(request));
    CHECK(Jit(edited, arch).key(request) != jit.key(request));
    CHECK(Jit(renamed, arch).key(request) != jit.key(request));
    CHECK(Jit(optioned, arch).key(request) != jit.key(request));
    const char* other = vendor_of(arch) == Vendor::amd ? "gfx908" : "sm_80";
    CHECK(Jit(tiny(), other).key(request) != jit.key(request));
  }
}

TEST_CASE("many tiles compile in parallel, results in order") {
  for (const std::string& arch : architectures()) {
    CAPTURE(arch);
    std::vector<JitRequest> requests;
    for (int i = 0; i < 6; ++i) requests.push_back(scale_request(64, i));  // the first is illegal
    const auto results = Jit(tiny(), arch).compile_all(requests, 3);
    REQUIRE(results.size() == requests.size());
    CHECK(std::holds_alternative<CompileFailed>(results[0]));
    for (size_t i = 1; i < results.size(); ++i) {
      REQUIRE(std::holds_alternative<CodeObject>(results[i]));
      CHECK(std::get<CodeObject>(results[i]).lowered_name.find("Li" + std::to_string(i)) !=
            std::string::npos);
    }
  }
}

// Run by the test below in eight processes, with the cache as their working directory.
TEST_CASE("cold start worker" * doctest::skip()) {
  for (const std::string& arch : architectures())
    for (int unroll : {1, 2}) compiled(Jit(tiny("cache"), arch), scale_request(32, unroll));
}

TEST_CASE("eight processes start on a cold cache at once") {
  const std::vector<std::string> found = architectures();
  if (found.empty()) return;
  const TemporaryFolder folder;
  std::vector<pid_t> workers(8);
  for (pid_t& worker : workers) {
    worker = ::fork();
    REQUIRE(worker >= 0);
    if (worker > 0) continue;
    if (::chdir(folder.path().c_str()) != 0) ::_exit(9);
    ::execl("/proc/self/exe", "test", "--no-skip", "--test-case=cold start worker", "--minimal",
            nullptr);
    ::_exit(9);
  }
  for (pid_t worker : workers) {
    int status = 0;
    REQUIRE(::waitpid(worker, &status, 0) == worker);
    CHECK(status == 0);
  }
  const JitCache cache(folder.path() / "cache");
  for (const std::string& arch : found)
    CHECK(cache.find(Jit(tiny(), arch).key(scale_request(32, 1))).has_value());
  for (const auto& entry : fs::directory_iterator(folder.path() / "cache"))
    CHECK(entry.path().extension() == ".code");  // no private file was left behind
}

TEST_CASE("a compiler is never asked for an architecture it does not know") {
  CHECK(unsupported(Vendor::amd, "5.2.21153", "gfx90a").empty());
  CHECK(unsupported(Vendor::amd, "5.2.21153", "gfx942").find("expected 6.0") != std::string::npos);
  CHECK(!unsupported(Vendor::amd, "6.4.1", "gfx950").empty());
  CHECK(unsupported(Vendor::amd, "6.4.1", "gfx942").empty());
  CHECK(unsupported(Vendor::amd, "7.0", "gfx950").empty());
  CHECK(unsupported(Vendor::nvidia, "13.0", "sm_90").empty());
  CHECK(!unsupported(Vendor::nvidia, "11.8", "sm_90").empty());
  CHECK_THROWS_AS(vendor_of("riscv"), Error);
}

TEST_CASE("ptxas output is read per kernel") {
  const std::string log =
      "ptxas info    : Compiling entry function '_Za' for 'sm_90a'\n"
      "ptxas info    : Function properties for _Za\n"
      "ptxas         .     48 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads\n"
      "ptxas info    : Used 255 registers, used 1 barriers, 48 bytes cumulative stack size, 1024 "
      "bytes smem\n"
      "ptxas info    : Compiling entry function '_Zb' for 'sm_90a'\n"
      "ptxas info    : Used 8 registers\n";
  CHECK(resources_from_ptxas(log, "_Za") ==
        Resources{.registers = 255, .lds_bytes = 1024, .stack_bytes = 48, .spill_bytes = 16});
  CHECK(resources_from_ptxas(log, "_Zb") == Resources{.registers = 8});
  CHECK(resources_from_ptxas("", "_Za") == Resources{});
}

TEST_CASE("a damaged AMD code object is an error, never a crash") {
  std::optional<CodeObject> object;
  try {
    object = compiled(Jit(tiny(), "gfx90a"), scale_request(64, 1));
  } catch (const Error& e) {
    MESSAGE("SKIPPED: " << std::string(e.what()));
    return;
  }
  CHECK_THROWS_AS(resources_from_amd(object->image, "no_such_kernel"), Error);
  for (size_t size = 0; size < object->image.size(); size += 37) {
    try {
      (void)resources_from_amd(std::span(object->image).first(size), object->lowered_name);
    } catch (const Error&) {
      continue;
    }
  }
}

}  // namespace
}  // namespace fse
