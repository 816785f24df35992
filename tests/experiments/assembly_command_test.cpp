#include <doctest/doctest.h>

#include "core/read_file.h"
#include "tests/experiments/command.h"

namespace fse::test {
namespace {

// What the compilers make of the kernels does not depend on how fselab was built: not again under
// the sanitizers.
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("no kernel for an AMD GPU got worse than its committed assembly" *
          doctest::test_suite("long")) {
  const TemporaryFolder folder;
  for (const std::string arch : {"gfx90a", "gfx942", "gfx950"}) {
    CAPTURE(arch);
    const Result r = fselab(folder.path(), {"kernels", "assembly", "--arch", arch, "--check"});
    if (r.exit_code == 3 && contains(r.err, "no compiler for " + arch)) {
      MESSAGE("SKIPPED: " << r.err);
      continue;
    }
    CAPTURE(r.err);
    CAPTURE(r.out);
    CHECK(r.exit_code == 0);
    CHECK(contains(lines_of(r.out).back(), ": 0 got worse than "));
  }
}
#endif

TEST_CASE("kernels show prints the committed assembly of a device whose compiler is not there") {
  const TemporaryFolder folder;
  const Result r = fselab(folder.path(), {"kernels", "show", "hip.grouped_stage1.stream",
                                          "--device", "gfx942", "--dtype", "fp8_block128"});
  CAPTURE(r.err);
  CAPTURE(r.out);
  CHECK(r.exit_code == 0);
  CHECK(contains(r.out, "vector registers, 0 bytes spilled, LDS "));
  CHECK(contains(r.out, "v_mfma_f32_16x16x16_bf16:"));
  CHECK(contains(r.out, "v_mfma_f32_16x16x32_fp8_fp8:"));
  CHECK(!contains(r.out, "}, 2>\n          "));  // stage 2's are not its own
  const Result wrong = fselab(folder.path(), {"kernels", "assembly", "--arch", "sm_90"});
  CHECK(wrong.exit_code == 2);
  CHECK(contains(wrong.err, "expected gfx90a, gfx942 or gfx950"));
}

TEST_CASE("the table of kernels and architectures is what the committed assembly makes") {
  const TemporaryFolder folder;
  const Result r = fselab(folder.path(), {"kernels", "assembly", "--table"});
  CAPTURE(r.err);
  CHECK(r.exit_code == 0);
  CHECK(contains(r.out, "| stream grouped_stage1 | bf16 | {"));
  CHECK(contains(r.out, "| dense mlp_stage1 | bf16 | {"));
  const auto file = std::filesystem::path(FSELAB_SOURCE_DIR) / "configs/assembly/README.md";
  const std::string readme = read_file(file).value_or("");
  CHECK(readme.ends_with("\n\n" + r.out));  // fselab kernels assembly --table makes it
}

}  // namespace
}  // namespace fse::test
