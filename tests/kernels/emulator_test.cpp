#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/e4m3fnuz.h"
#include "core/outcome.h"
#include "kernels/emulator/backend.h"
#include "kernels/emulator/instances.h"
#include "kernels/emulator/machine.h"
#include "tests/temporary_folder.h"

using namespace fse;

namespace {

namespace fs = std::filesystem;

constexpr const char* kKernels[] = {"product<true>",
                                    "product<false>",
                                    "sum_of_lanes<true>",
                                    "sum_of_lanes<false>",
                                    "reverse<true>",
                                    "reverse<false>",
                                    "overflow",
                                    "copies_too_far",
                                    "unwritten",
                                    "neighbour<true>",
                                    "neighbour<false>",
                                    "overwritten",
                                    "bytes_apart",
                                    "off_by_one",
                                    "off_by_one_load",
                                    "stores_into_input",
                                    "divergent",
                                    "two_barriers",
                                    "two_places",
                                    "missing_lanes",
                                    "copied<true>",
                                    "copied<false>",
                                    "differing_trips",
                                    "differing_ballots",
                                    "no_such_lane",
                                    "code_values",
                                    "unpacked_codes",
                                    "bits_of_one_word<true, true>",
                                    "bits_of_one_word<true, false>",
                                    "bits_of_one_word<false, true>",
                                    "codes_of",
                                    "rounded_to_codes"};

// The device headers and one more, whose kernels do wrong on purpose.
class Faults {
 public:
  explicit Faults(const std::string& arch) : wave_(emulated_device(arch).wave) {
    const fs::path device = folder_.path() / "kernels" / "device";
    fs::create_directories(device.parent_path());
    fs::copy(fs::path(FSELAB_SOURCE_DIR) / "kernels" / "device", device);
    fs::copy(fs::path(FSELAB_SOURCE_DIR) / "tests" / "kernels" / "faults.h", device / "faults.h");
    std::ifstream source(device / "faults.h");
    for (std::string line; std::getline(source, line);) lines_.push_back(line);
    instances_ = std::make_unique<HostInstances>(
        BackendConfig{.device_dir = device, .cache_dir = FSELAB_TEST_CACHE}, arch);
    std::vector<JitRequest> all;
    for (const char* name : kKernels) all.push_back({"faults.h", std::string("fse::gpu::") + name});
    instances_->prepare(all);
  }

  void run(const std::string& name, uint64_t seed = 1) {
    const std::string kernel = "fse::gpu::" + name;
    gpu::Args args{};
    args.sorted_pairs = in.data();
    args.topk_ids = out.data();
    args.scores = scores.data();
    emulate({.kernel = kernel,
             .run = instances_->find(kernel),
             .args = &args,
             .memory = {{"sorted_pairs", in.data(), sizeof in, true, false},
                        {"topk_ids", out.data(), sizeof out, true, true},
                        {"scores", scores.data(), sizeof scores, true, true}},
             .launch = {.blocks = 1,
                        .threads = name.starts_with("product") ? wave_ : 128,
                        .lds_bytes = 2048},
             .wave = wave_,
             .cooperative = false,
             .seed = seed,
             .host_threads = 1});
  }
  // What it says; empty where it runs to its end.
  std::string error(const std::string& name, uint64_t seed = 1) {
    try {
      run(name, seed);
    } catch (const AttemptError& e) {
      CHECK(e.status == Status::wrong);
      return e.what();
    }
    return "";
  }
  // "faults.h:12": the line that has this text.
  std::string line(const std::string& text) const {
    for (size_t i = 0; i < lines_.size(); ++i)
      if (lines_[i].find(text) != std::string::npos) return "faults.h:" + std::to_string(i + 1);
    throw std::logic_error("faults.h has no line with " + text);
  }

  std::array<int, 512> in{};
  std::array<int, 64> nothing{};  // no buffer, so that two are not one
  std::array<int, 512> out{};
  std::array<int, 64> nothing_either{};
  std::array<float, 256> scores{};

 private:
  int wave_;
  test::TemporaryFolder folder_;
  std::vector<std::string> lines_;
  std::unique_ptr<HostInstances> instances_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("emulator: matrix instructions are the plain product, whichever element differs") {
  for (const std::string& arch : emulated_archs()) {
    CAPTURE(arch);
    Faults faults(arch);
    const int columns = arch == "sm_90" ? 8 : 16;
    faults.run("product<true>");
    // Row r holds r * 8 + k, column c holds 1 at k == c and 2 at k == 31 - c: no two results agree.
    for (int r = 0; r < 16; ++r)
      for (int c = 0; c < columns; ++c) {
        CAPTURE(r);
        CAPTURE(c);
        CHECK(faults.scores[static_cast<size_t>(r * 16 + c)] == 3 * (r * 8) + c + 2 * (31 - c));
      }
  }
}

namespace {

// Every value that has a code, the middle between any two and its neighbours, what saturates, NaN.
std::vector<float> rounding_cases(float (*value_of)(uint8_t)) {
  std::vector<float> all{0.f, 1e9f, INFINITY, std::nanf("")};
  for (int code = 0; code < 127; ++code) {
    const float low = value_of(static_cast<uint8_t>(code));
    const float high = value_of(static_cast<uint8_t>(code + 1));
    if (std::isnan(high)) continue;
    const float middle = low + (high - low) / 2;
    for (const float v :
         {low, high, middle, std::nextafter(middle, low), std::nextafter(middle, high)})
      all.push_back(v);
  }
  const size_t positive = all.size();
  for (size_t i = 0; i < positive; ++i) all.push_back(-all[i]);
  return all;
}

}  // namespace

TEST_CASE("emulator: fp8 conversions are those of the device's format, over all codes and cases") {
  for (const std::string& arch : emulated_archs()) {
    CAPTURE(arch);
    Faults faults(arch);
    const bool fnuz = arch == "gfx942";
    const auto value_of = fnuz ? from_fp8_e4m3fnuz : from_fp8_e4m3fn;
    const auto code_of = fnuz ? to_fp8_e4m3fnuz : to_fp8_e4m3fn;
    for (const char* kernel : {"code_values", "unpacked_codes"}) {
      CAPTURE(kernel);
      faults.run(kernel);
      for (int code = 0; code < 256; ++code) {
        CAPTURE(code);
        const float want = value_of(static_cast<uint8_t>(code));
        const float is = faults.scores[static_cast<size_t>(code)];
        if (!std::isnan(want))
          CHECK(is == want);
        else if (kernel == std::string("code_values"))
          CHECK(std::isnan(is));
      }
    }
    const std::vector<float> cases = rounding_cases(value_of);
    for (size_t first = 0; first < cases.size(); first += 512) {
      const size_t count = std::min<size_t>(512, cases.size() - first);
      for (size_t i = 0; i < count; ++i) faults.in[i] = std::bit_cast<int>(cases[first + i]);
      faults.run("codes_of");
      for (size_t i = 0; i < count; ++i) {
        CAPTURE(cases[first + i]);
        const int code = code_of(cases[first + i]);
        CHECK((faults.out[i] == code || (std::isnan(cases[first + i]) && (code | 0x80) == 0xff)));
      }
      faults.run("rounded_to_codes");
      for (size_t i = 0; i < count; ++i) {
        const float v = std::bit_cast<float>(faults.out[i]);
        const float want = value_of(code_of(cases[first + i]));
        CAPTURE(cases[first + i]);
        CHECK((v == want || (std::isnan(v) && std::isnan(want))));
      }
    }
  }
}

TEST_CASE(
    "emulator: a wrong lane in a shuffle and a wrong index of a fragment give wrong results") {
  for (const std::string& arch : emulated_archs()) {
    CAPTURE(arch);
    Faults faults(arch);
    const int wave = emulated_device(arch).wave;
    faults.run("sum_of_lanes<true>");
    for (int i = 0; i < 128; ++i) CHECK(faults.out[static_cast<size_t>(i)] == wave / 16 * 0xffff);
    faults.run("sum_of_lanes<false>");
    for (int i = 0; i < 128; ++i) CHECK(faults.out[static_cast<size_t>(i)] != wave / 16 * 0xffff);
    faults.run("product<true>");
    const auto right = faults.scores;
    faults.run("product<false>");
    CHECK(faults.scores != right);
  }
}

TEST_CASE("emulator: a removed barrier is a race under every seed") {
  for (const char* arch : {"sm_90", "gfx942"}) {
    CAPTURE(arch);
    Faults faults(arch);
    for (uint64_t seed = 1; seed < 6; ++seed) {
      CAPTURE(seed);
      faults.run("reverse<true>", seed);
      for (int i = 0; i < 128; ++i) CHECK(faults.out[static_cast<size_t>(i)] == 127 - i);
      const std::string error = faults.error("reverse<false>", seed);
      CAPTURE(error);
      CHECK(has(error, "fse::gpu::reverse<false>, block 0, thread "));
      // Whichever of the two came second.
      const bool unwritten = has(error, "which nobody has written");
      CHECK((unwritten || has(error, "and no barrier is between")));
      CHECK(has(error, faults.line(unwritten ? "= lds[127 -" : "lds[thread_index()] = thread")));
    }
  }
}

TEST_CASE("emulator: a barrier of a wave orders its lanes only") {
  for (const char* arch : {"sm_90", "gfx942"}) {
    CAPTURE(arch);
    Faults faults(arch);
    faults.run("neighbour<true>");
    faults.run("bytes_apart");
    std::string error;
    for (uint64_t seed = 1; seed < 40 && !has(error, "race"); ++seed)
      error = faults.error("neighbour<false>", seed);
    CHECK(has(error, "of LDS at " + faults.line("lds[thread_index() - 1]")));
    error = faults.error("overwritten");
    CAPTURE(error);
    CHECK(has(error, "race: "));
    CHECK(has(error, faults.line("= 2;")));
    CHECK(has(error, faults.line("= lds[thread_index() / 2]")));
  }
}

TEST_CASE("emulator: atomic operations on one word are no race, and order nothing") {
  for (const char* arch : {"sm_90", "gfx942"}) {
    CAPTURE(arch);
    Faults faults(arch);
    for (uint64_t seed = 1; seed < 4; ++seed) {
      faults.run("bits_of_one_word<true, true>", seed);
      for (int i = 0; i < 128; ++i) CHECK(faults.out[static_cast<size_t>(i)] == -1);
      CHECK(has(faults.error("bits_of_one_word<true, false>", seed), "race: "));
      CHECK(has(faults.error("bits_of_one_word<false, true>", seed), "race: "));
    }
  }
}

TEST_CASE("emulator: a copy is not there before it is waited for") {
  for (const char* arch : {"sm_90", "gfx942"}) {
    CAPTURE(arch);
    Faults faults(arch);
    for (size_t i = 0; i < 512; ++i) faults.in[i] = static_cast<int>(i);
    faults.run("copied<true>");
    CHECK(faults.in == faults.out);
    const std::string error = faults.error("copied<false>");
    CHECK(has(error, "where a copy of thread "));
    CHECK(has(error, faults.line("async_copy16(lds,") + " was not waited for"));
    CHECK(has(error, "of LDS at " + faults.line("= lds[i]")));
    CHECK(has(faults.error("copies_too_far"),
              "copies 16 bytes outside its 2048 bytes of LDS at " + faults.line("1536")));
  }
}

TEST_CASE("emulator: an access outside its memory is named with block, thread, file and line") {
  for (const char* arch : {"sm_90", "gfx942"}) {
    CAPTURE(arch);
    Faults faults(arch);
    CHECK(faults.error("overflow") ==
          "fse::gpu::overflow, block 0, thread 0: stores 1 bytes at byte 2048 of its 2048 bytes of "
          "LDS, at " +
              faults.line("dynamic_lds()[2048]"));
    CHECK(faults.error("unwritten") ==
          "fse::gpu::unwritten, block 0, thread 9: loads byte 84 of LDS at " +
              faults.line("lds[21]") + ", which nobody has written");
    CHECK(faults.error("off_by_one") ==
          "fse::gpu::off_by_one, block 0, thread 127: stores 4 bytes outside every buffer, at " +
              faults.line("+ 4] = 1") + ": byte 2048 of the 2048 bytes of topk_ids");
    CHECK(faults.error("off_by_one_load") ==
          "fse::gpu::off_by_one_load, block 0, thread 0: loads 4 bytes outside every buffer, at " +
              faults.line("a.sorted_pairs[thread_index() - 1]") +
              ": byte -4 of the 2048 bytes of sorted_pairs");
    CHECK(
        has(faults.error("stores_into_input"), "stores 4 bytes into sorted_pairs at " +
                                                   faults.line("a.sorted_pairs[thread_index()] =") +
                                                   ", which its op does not declare"));
  }
}

TEST_CASE("emulator: threads that do not come to the same place are named with both") {
  for (const char* arch : {"sm_90", "gfx942"}) {
    CAPTURE(arch);
    Faults faults(arch);
    const std::string divergent = faults.error("divergent");
    CHECK(has(divergent, "fse::gpu::divergent, block 0, thread "));
    CHECK(has(divergent, "waits in vain in block_sync at " + faults.line("!= 5) block_sync")));
    CHECK(has(faults.error("two_barriers"), "divergent barrier: it is at faults.h:"));
    CHECK(
        has(faults.error("two_places"), "lanes of a wave meet in different places: it calls shfl"));
    CHECK(has(faults.error("missing_lanes"),
              "waits in vain in shfl at " + faults.line(">= 3) a.topk_ids")));
  }
}

TEST_CASE("emulator: a wave operation in a loop that lanes leave at different times is an error") {
  for (const std::string& arch : emulated_archs()) {
    CAPTURE(arch);
    Faults faults(arch);
    for (uint64_t seed = 1; seed < 4; ++seed) {
      CHECK(has(faults.error("differing_trips", seed),
                "waits in vain in wave_index at " + faults.line("= wave_index();")));
      CHECK(has(faults.error("differing_ballots", seed),
                "waits in vain in ballot at " + faults.line("popcount(ballot(true))")));
    }
    CHECK(has(faults.error("no_such_lane"),
              "shfl from lane " + std::to_string(emulated_device(arch).wave) + " of"));
  }
}

TEST_CASE("emulator: a device that is not emulated is refused with those that are") {
  CHECK_THROWS_WITH_AS(emulated_device("gfx1100"), doctest::Contains("gfx90a, gfx942"), Error);
  CHECK(emulated_device("gfx942").wave == 64);
  CHECK(emulated_device("sm_90").wave == 32);
}
