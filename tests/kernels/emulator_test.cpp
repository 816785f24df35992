#include <doctest/doctest.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/outcome.h"
#include "kernels/emulator/backend.h"
#include "kernels/emulator/instances.h"
#include "kernels/emulator/machine.h"
#include "tests/temporary_folder.h"

using namespace fse;

namespace {

namespace fs = std::filesystem;

// The device headers and one more, whose kernels do wrong on purpose.
class Faults {
 public:
  explicit Faults(int wave) : wave_(wave) {
    const fs::path device = folder_.path() / "kernels" / "device";
    fs::create_directories(device.parent_path());
    fs::copy(fs::path(FSELAB_SOURCE_DIR) / "kernels" / "device", device);
    fs::copy(fs::path(FSELAB_SOURCE_DIR) / "tests" / "kernels" / "faults.h", device / "faults.h");
    instances_ = std::make_unique<HostInstances>(
        BackendConfig{.device_dir = device, .cache_dir = FSELAB_TEST_CACHE}, wave);
    std::vector<JitRequest> all;
    for (const char* name : {"product", "reverse<true>", "reverse<false>", "overflow", "divergent",
                             "two_places", "copied<true>", "copied<false>"})
      all.push_back({"faults.h", std::string("fse::gpu::") + name});
    instances_->prepare(all);
  }

  void run(const std::string& name, gpu::Args& args, uint64_t seed = 1) {
    const std::string kernel = "fse::gpu::" + name;
    emulate({.kernel = kernel,
             .run = instances_->find(kernel),
             .args = &args,
             .launch = {.blocks = 1, .threads = name == "product" ? wave_ : 128, .lds_bytes = 2048},
             .wave = wave_,
             .cooperative = false,
             .seed = seed,
             .host_threads = 1});
  }
  std::string error(const std::string& name) {
    gpu::Args args{};
    std::vector<int> ids(128);
    args.topk_ids = ids.data();
    try {
      run(name, args);
    } catch (const AttemptError& e) {
      CHECK(e.status == Status::wrong);
      return e.what();
    }
    return "";
  }
  std::vector<int> ids(const std::string& name, uint64_t seed) {
    gpu::Args args{};
    std::vector<int> in(512), out(512);
    for (int i = 0; i < 512; ++i) in[static_cast<size_t>(i)] = i;
    args.sorted_pairs = in.data();
    args.topk_ids = out.data();
    run(name, args, seed);
    return out;
  }

 private:
  int wave_;
  test::TemporaryFolder folder_;
  std::unique_ptr<HostInstances> instances_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("emulator: matrix instructions are the plain product, whichever element differs") {
  for (const int wave : {32, 64}) {
    CAPTURE(wave);
    Faults faults(wave);
    gpu::Args args{};
    std::vector<float> out(16 * 16, -1);
    const int columns = wave == 32 ? 8 : 16;
    args.scores = out.data();
    faults.run("product", args);
    // Row r holds r * 8 + k, column c holds 1 at k == c and 2 at k == 31 - c: no two results agree.
    for (int r = 0; r < 16; ++r)
      for (int c = 0; c < columns; ++c) {
        CAPTURE(r);
        CAPTURE(c);
        CHECK(out[static_cast<size_t>(r * 16 + c)] == 3 * (r * 8) + c + 2 * (31 - c));
      }
  }
}

TEST_CASE("emulator: a removed barrier gives other answers under other seeds") {
  Faults faults(64);
  for (uint64_t seed = 1; seed < 4; ++seed) {
    const std::vector<int> right = faults.ids("reverse<true>", seed);
    for (int i = 0; i < 128; ++i) CHECK(right[static_cast<size_t>(i)] == 127 - i);
  }
  CHECK(faults.ids("reverse<false>", 1) != faults.ids("reverse<false>", 2));
}

TEST_CASE("emulator: copies are not there before they are waited for") {
  Faults faults(32);
  const std::vector<int> right = faults.ids("copied<true>", 1);
  for (int i = 0; i < 512; ++i) CHECK(right[static_cast<size_t>(i)] == i);
  for (const int early : faults.ids("copied<false>", 1)) CHECK(early == -1);
}

TEST_CASE("emulator: wrong kernels are named with block, thread, file and line") {
  for (const int wave : {32, 64}) {
    CAPTURE(wave);
    Faults faults(wave);
    CHECK(
        has(faults.error("overflow"), "overflow, block 0: a store outside its 2048 bytes of LDS"));
    const std::string divergent = faults.error("divergent");
    CHECK(has(divergent, "fse::gpu::divergent, block 0, thread "));
    CHECK(has(divergent, "waits in vain in block_sync at faults.h:"));
    CHECK(has(faults.error("two_places"), "lanes of a wave meet in different places: block 0"));
  }
}

TEST_CASE("emulator: a device that is not emulated is refused with those that are") {
  CHECK_THROWS_WITH_AS(emulated_device("gfx1100"), doctest::Contains("gfx90a, gfx942"), Error);
  CHECK(emulated_device("gfx942").wave == 64);
  CHECK(emulated_device("sm_90").wave == 32);
}
