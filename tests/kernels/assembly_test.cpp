#include "kernels/assembly.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "tests/temporary_folder.h"

namespace fse {
namespace {

std::string metadata(int vgprs, int spilled, int lds = 0) {
  return "    .group_segment_fixed_size: " + std::to_string(lds) +
         "\n    .private_segment_fixed_size: 16\n    .sgpr_count:     72\n    .vgpr_count:     " +
         std::to_string(vgprs) + "\n    .vgpr_spill_count: " + std::to_string(spilled) + "\n";
}

TEST_CASE("assembly is read: registers, spills, loads by their width, matrix instructions") {
  const std::string text =
      "\tglobal_load_dwordx4 v[2:5], v[0:1], off\n\tflat_load_dwordx4 v[2:5], v[0:1]\n"
      "\tglobal_load_dword v2, v0, s[2:3]\n\tglobal_load_ushort v2, v0, s[2:3]\n"
      "\ts_load_dwordx16 s[0:15], s[4:5], 0x0\n\tglobal_store_dwordx4 v[0:1], v[2:5], off\n"
      "\tv_mfma_f32_16x16x16_bf16 v[0:3], v[4:5], v[6:7], v[0:3]\n"
      "\tv_mfma_f32_16x16x16_bf16 v[0:3], v[4:5], v[6:7], v[0:3]\n"
      "; v_mfma_f32_16x16x16_bf16 of a comment\n";
  const Assembly a = read_assembly(text + metadata(130, 3, 64), "gfx942", 512, 32704);
  CHECK(a.vector_registers == 130);
  CHECK(a.scalar_registers == 72);
  CHECK(a.spill_bytes == 12);
  CHECK(a.stack_bytes == 16);
  CHECK(a.lds_bytes == 32768);
  CHECK(a.wide_loads == 1);
  CHECK(a.narrow_loads == 3);  // a flat load of 16 bytes among them
  CHECK(a.matrix == "v_mfma_f32_16x16x16_bf16:2");
  CHECK_THROWS_WITH_AS(read_assembly(text, "gfx942", 64, 0), doctest::Contains("metadata"), Error);
}

TEST_CASE("occupancy is the smaller of what registers and LDS allow") {
  const auto occupancy = [](int vgprs, int threads, int lds, const char* arch = "gfx942") {
    return read_assembly(metadata(vgprs, 0), arch, threads, lds).occupancy;
  };
  CHECK(occupancy(64, 256, 0) == 8);
  CHECK(occupancy(65, 256, 0) == 7);  // 72 of 512
  CHECK(occupancy(256, 256, 0) == 2);
  CHECK(occupancy(64, 512, 40960) == 2);            // one block of 8 waves on 4 SIMDs
  CHECK(occupancy(64, 512, 54000, "gfx950") == 6);  // three of them in 160 KB
}

TEST_CASE("a table is read as it was written, and a damaged one is an error with its line") {
  const test::TemporaryFolder folder;
  AssemblyTable table{.compiler = "clang 19",
                      .rows = {{.instance = "fse::gpu::topk<A{1,2}, B{3}>",
                                .is_default = true,
                                .threads = 256,
                                .vector_registers = 40,
                                .matrix = "-",
                                .occupancy = 8}}};
  std::ofstream(folder / "a.tsv") << to_text(table);
  const AssemblyTable read = read_assembly_table(folder / "a.tsv");
  CHECK(read.compiler == "clang 19");
  CHECK(read.rows == table.rows);
  std::ofstream(folder / "b.tsv") << to_text(table) << "x\t1\n";
  CHECK_THROWS_WITH_AS(read_assembly_table(folder / "b.tsv"), doctest::Contains("b.tsv:4: "),
                       Error);
  std::ofstream(folder / "c.tsv") << "instance\n";
  CHECK_THROWS_WITH_AS(read_assembly_table(folder / "c.tsv"), doctest::Contains("not a table"),
                       Error);
}

TEST_CASE("a planted spill, a narrower load and a lost matrix instruction are found") {
  const Assembly good{.instance = "fse::gpu::stream<T, S, 1>",
                      .is_default = true,
                      .threads = 512,
                      .vector_registers = 80,
                      .matrix = "v_mfma_f32_16x16x16_bf16:8",
                      .wide_loads = 4,
                      .narrow_loads = 9,
                      .occupancy = 2};
  const AssemblyTable recorded{"clang 19", {good}};
  CHECK(regressions(recorded, recorded).empty());
  const auto found = [&](auto change, const std::string& compiler = "clang 19") {
    AssemblyTable now{compiler, {good}};
    change(now.rows[0]);
    return regressions(now, recorded);
  };
  CHECK(found([](Assembly& a) { a.spill_bytes = 8; }).at(0) ==
        "fse::gpu::stream<T, S, 1>: a default tile spills 8 bytes of a thread");
  const auto narrow = found([](Assembly& a) { a.wide_loads = 2, a.narrow_loads = 13; });
  REQUIRE(narrow.size() == 2);
  CHECK(narrow[0] == "fse::gpu::stream<T, S, 1>: wide_loads 2, 4 recorded");
  CHECK(narrow[1] == "fse::gpu::stream<T, S, 1>: narrow_loads 13, 9 recorded");
  CHECK(found([](Assembly& a) { a.occupancy = 1; }).size() == 1);
  CHECK(found([](Assembly& a) { a.wide_loads = 5, a.vector_registers = 70; }).empty());
  // Another compiler's numbers are its own, but a default tile without its matrix unit is wrong.
  CHECK(found([](Assembly& a) { a.wide_loads = 2; }, "clang 20").empty());
  CHECK(found([](Assembly& a) { a.matrix = "-"; }, "clang 20").at(0) ==
        "fse::gpu::stream<T, S, 1>: no matrix instruction");
}

}  // namespace
}  // namespace fse
