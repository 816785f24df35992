#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "tests/experiments/command.h"
#include "tests/experiments/measured_study.h"

namespace fse::test {
namespace {

std::string aiter_file(const std::string& name) {
  return read_text(std::string(FSELAB_SOURCE_DIR) + "/configs/validation/" + name);
}

const char* const kVllm = R"({
    "1": {
        "BLOCK_SIZE_M": 16,
        "num_warps": 4
    },
    "64": {
        "BLOCK_SIZE_M": 32,
        "num_warps": 8
    }
}
)";

struct Folder {
  TemporaryFolder folder;
  Result db(std::vector<std::string> words) const {
    words.insert(words.begin(), "db");
    words.insert(words.end(), {"--db", "x.db"});
    return fselab(folder.path(), words);
  }
  // Imports a text and exports it again.
  std::string round_trip(const std::string& text, const std::string& name) const {
    write_text(folder / name, text);
    CHECK(db({"import", name}).exit_code == 0);
    CHECK(db({"export", "again", "--name", name}).exit_code == 0);
    return read_text(folder / "again");
  }
};

}  // namespace

TEST_CASE("db import and export: what came in goes out again, byte for byte") {
  const Folder at;
  CHECK(at.round_trip(kVllm, "E=8,N=64,device_name=X.json") == kVllm);
  for (const char* name :
       {"aiter_a8w8_blockscale_tuned_fmoe_ds_v3.csv", "aiter_qwen3next_80b_fp8_tuned_fmoe.csv"})
    CHECK(at.round_trip(aiter_file(name), name) == aiter_file(name));
  // FAIR T1 and T4, as their converters write them, with digits that a printer would change.
  const std::string space =
      R"({"ConfigurationSpace": {"TuningParameters": [{"Name": "block", "Values": "[16, 32]"}]}})";
  const std::string results =
      "{\n    \"results\": [\n        {\"configuration\": {\"block\": 16},"
      " \"times\": {\"runtimes\": [3.6167678833007812]}}\n    ]\n}";
  CHECK(at.round_trip(space, "T1.json") == space);
  CHECK(at.round_trip(results, "T4.json") == results);
  const Result again = at.db({"import", "aiter_qwen3next_80b_fp8_tuned_fmoe.csv"});
  CHECK(again.exit_code == 0);
  CHECK(contains(again.out, "holds exactly this already"));
}

TEST_CASE("db import: rows that cannot be, rows of other kinds and duplicates are told") {
  const Folder at;
  const std::string name = "aiter_qwen3next_80b_fp8_tuned_fmoe.csv";
  write_text(at.folder / name, aiter_file(name));
  const Result imported = at.db({"import", name});
  CHECK(contains(imported.out, "column bw is 55203 GB/s, above the device's 8000"));
  CHECK(contains(imported.out, "118 rows, 22 of a kind fselab does not have"));
  const std::string text = aiter_file(name);
  const size_t first = text.find('\n') + 1;
  write_text(at.folder / "twice.csv",
             text + text.substr(first, text.find('\n', first) + 1 - first));
  const Result warned = at.db({"import", "twice.csv"});
  CHECK(warned.exit_code == 0);
  CHECK(contains(warned.err, "warning: twice.csv: row 119 repeats row 1: 256,1,2048,512"));
  const Result strict = at.db({"import", "twice.csv", "--name", "strict.csv", "--strict"});
  CHECK(strict.exit_code == 5);
  CHECK(at.db({"export", "out", "--name", "strict.csv"}).exit_code == 2);
  CHECK(at.db({"export", "out", "--name", "twice.csv"}).exit_code == 0);
  CHECK(read_text(at.folder / "out") == read_text(at.folder / "twice.csv"));
}

TEST_CASE("db export --as vllm: settings by token count, under the name that is looked for") {
  const Folder at;
  fill_gpu(at.folder / "x.db", "AMD Instinct MI300X/OAM; rm -rf ..");
  const Result result = at.db({"export", ".", "--as", "vllm"});
  CHECK(result.exit_code == 0);
  CHECK(contains(result.err, "vllm's own kernel was not measured"));
  const std::string name =
      "E=512,N=512,device_name=AMD_Instinct_MI300X_OAM_rm_-rf,dtype=fp8_w8a8,"
      "block_shape=[128,128].json";
  const std::string text = read_text(at.folder / name);
  const nlohmann::json settings = nlohmann::json::parse(text);
  REQUIRE(settings.size() == 3);
  for (const auto& [tokens, s] : settings.items()) {
    CAPTURE(tokens);
    CHECK(s.size() == 6);  // a key more is an argument that the kernel does not have
    CHECK(s["BLOCK_SIZE_M"] == 16);
    CHECK(s["BLOCK_SIZE_N"] == 128);
    CHECK(s["BLOCK_SIZE_K"] == 128);
    CHECK(s["num_warps"] == 8);
    CHECK(s["num_stages"] == 3);
  }
  CHECK(at.round_trip(text, name) == text);
  CHECK(at.db({"export", ".", "--as", "sglang"}).exit_code == 0);
  CHECK(std::filesystem::exists(at.folder / "E=512,N=512,device_name=AMD_Instinct_MI300X_OAM_rm_"
                                            "-rf,dtype=fp8_w8a8,block_shape=[128, 128].json"));
}

TEST_CASE("db export --as aiter: rows that AITER's readers take, and that come back unflagged") {
  const Folder at;
  fill_gpu(at.folder / "x.db", "AMD Instinct MI300X");
  REQUIRE(at.db({"export", "mine.csv", "--as", "aiter"}).exit_code == 0);
  const std::string text = read_text(at.folder / "mine.csv");
  const std::vector<std::string> lines = lines_of(text);
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == lines_of(aiter_file("aiter_a8w8_blockscale_tuned_fmoe_ds_v3.csv"))[0]);
  CHECK(
      lines[1].starts_with("304,1,2048,512,513,11,ActivationType.Silu,torch.bfloat16,"
                           "torch.bfloat16,torch.float8_e4m3fn,QuantType.per_1x128,1,0,8,0,"));
  CHECK(contains(lines[1], "hip.grouped_stage1.stream dependent=1 dense=0"));
  const Result imported = at.db({"import", "mine.csv"});
  CHECK(imported.exit_code == 0);
  CHECK(
      contains(imported.out, "3 rows, 0 of a kind fselab does not have, 0 not to be believed, 0"));
  CHECK(at.round_trip(text, "mine.csv") == text);
}

TEST_CASE("db export: what has no such form is one clear error") {
  const Folder at;
  {
    MeasuredStudy s(at.folder / "x.db");
    fill_crossing(s);
    s.add(1, 10, 20, {.kind = RoutingKind::zipf, .parameter = 1.2});
    s.write();
  }
  const auto error = [&](std::vector<std::string> words) {
    const Result r = at.db(std::move(words));
    CHECK(r.exit_code == 2);
    return r.err;
  };
  CHECK(contains(error({"export", "o", "--as", "vllm"}), "2 routings are selected"));
  CHECK(contains(error({"export", "o", "--as", "vllm", "routing=uniform"}),
                 "expected a kernel of a GPU"));
  CHECK(contains(error({"export", "o", "--as", "aiter", "model=x"}), "0 measured layers"));
  CHECK(contains(error({"export", "o", "model=x"}), "or --as vllm"));
  CHECK(contains(error({"export", "o", "--as", "xml"}), "--as"));
  CHECK(contains(error({"export", "o"}), "none was imported"));
  CHECK_FALSE(std::filesystem::exists(at.folder / "o"));
  CHECK(at.db({"export", "o", "--as", "aiter", "routing=uniform"}).exit_code == 0);
}

TEST_CASE("db export --as header: the table as C++ that compiles and answers like the database") {
  const Folder at;
  {
    MeasuredStudy s(at.folder / "x.db");
    fill_crossing(s);
    s.write();
  }
  REQUIRE(at.db({"export", "dispatch.h", "--as", "header"}).exit_code == 0);
  write_text(at.folder / "main.cpp", R"(#include "dispatch.h"
using namespace fselab_dispatch::qwen3_next_80b_a3b_bf16_tp1;
static_assert(kMinTokens == 1 && kMaxTokens == 128);
static_assert(!kRevision.empty() && kCompilers.size() > 5);
static_assert(kRows[row_for(1)].variant == "separate/unfused/slot/staged/stream");
static_assert(kRows[row_for(15)].variant == "separate/unfused/slot/staged/stream");
static_assert(kRows[row_for(16)].variant == "separate/unfused/mlp/staged/stream");
static_assert(kRows[row_for(128)].variant == "separate/unfused/mlp/staged/stream");
static_assert(row_for(0) == fselab_dispatch::kNone && row_for(129) == fselab_dispatch::kNone);
static_assert(tile_for(4, "grouped_stage1")->kernel.substr(0, 4) == "cpu.");
static_assert(tile_for(4, "mlp_stage1") == nullptr && tile_for(64, "mlp_stage1") != nullptr);
static_assert(tile_for(129, "grouped_stage1") == nullptr);
)");
  const std::string compile = fmt::format(
      "cd '{}' && c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only main.cpp 2> c++.err",
      at.folder.path().string());
  CHECK(std::system(compile.c_str()) == 0);
  CHECK(read_text(at.folder / "c++.err") == "");
}

TEST_CASE("db export --as header: hostile names end up as plain C++") {
  const Folder at;
  fill_gpu(at.folder / "x.db",
           "X\"\\\n#error */ ?"
           "?/",
           "../1 \"evil\"\nint x;\\");
  REQUIRE(at.db({"export", "dispatch.h", "--as", "header"}).exit_code == 0);
  CHECK(
      contains(read_text(at.folder / "dispatch.h"), "namespace m1_evil_int_x_fp8_block128_tp1 {"));
  const std::string compile = fmt::format(
      "cd '{}' && c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only -x c++ "
      "-include dispatch.h /dev/null 2> c++.err",
      at.folder.path().string());
  CHECK(std::system(compile.c_str()) == 0);
  CHECK(read_text(at.folder / "c++.err") == "");
}

}  // namespace fse::test
