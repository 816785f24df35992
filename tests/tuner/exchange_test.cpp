#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "tests/temporary_folder.h"
#include "tuner/exchange_store.h"

namespace fse::test {
namespace {

std::string data(const std::string& name) {
  std::ostringstream text;
  text << std::ifstream(std::string(FSELAB_SOURCE_DIR) + "/configs/validation/" + name,
                        std::ios::binary)
              .rdbuf();
  return text.str();
}

const std::vector<std::string> kAiterFiles = {"aiter_a8w8_blockscale_tuned_fmoe_ds_v3.csv",
                                              "aiter_qwen3next_80b_fp8_tuned_fmoe.csv"};

const char* const kVllm = R"({
    "triton_version": "3.5.1",
    "1": {
        "BLOCK_SIZE_M": 16,
        "BLOCK_SIZE_N": 64,
        "num_warps": 4,
        "num_stages": 3
    },
    "1024": {
        "num_warps": 8,
        "waves_per_eu": 0
    }
}
)";

const char* const kSpace = R"({
  "General": {
    "FormatVersion": 1
  },
  "ConfigurationSpace": {
    "TuningParameters": [
      {
        "Name": "block_size_x",
        "Type": "int",
        "Values": "[16, 32]",
        "Default": 16
      }
    ],
    "Conditions": []
  },
  "KernelSpecification": {
    "KernelName": "k"
  }
}
)";

const char* const kResults = R"({
  "metadata": {
    "timeunit": "miliseconds"
  },
  "results": [
    {
      "configuration": {
        "x": 16,
        "a": 1
      },
      "times": {
        "runtimes": [
          3.976191997528076
        ]
      },
      "invalidity": "correct",
      "measurements": [
        {
          "name": "time",
          "value": 3.8753279224038124
        }
      ]
    },
    {
      "configuration": {
        "x": 32,
        "a": 1
      },
      "invalidity": "correct",
      "measurements": [
        {
          "name": "time",
          "value": 0.0
        }
      ]
    }
  ]
}
)";

bool flagged(const ForeignRow& row, const std::string& with) {
  return std::any_of(row.flags.begin(), row.flags.end(),
                     [&](const std::string& flag) { return flag.find(with) != std::string::npos; });
}

// One row of AITER's columns.
std::string aiter(const std::string& cu_num, const std::string& token, const std::string& us) {
  return "cu_num,token,model_dim,inter_dim,expert,topk,act_type,dtype,q_dtype_a,q_dtype_w,q_type,"
         "use_g1u1,doweight_stage1,us\n" +
         cu_num + "," + token +
         ",2048,512,512,10,ActivationType.Silu,torch.bfloat16,torch.float8_e4m3fn,"
         "torch.float8_e4m3fn,QuantType.per_1x128,1,0," +
         us + "\n";
}

}  // namespace

TEST_CASE("exchange: every format is recognised and written again as it was") {
  for (const std::string& text : {std::string(kVllm), std::string(kSpace), std::string(kResults),
                                  data(kAiterFiles[0]), data(kAiterFiles[1])}) {
    CAPTURE(text.substr(0, 60));
    REQUIRE(!text.empty());
    CHECK(write_foreign(read_foreign(text, "t")) == text);
  }
  CHECK(read_foreign(kVllm, "t").format == ExchangeFormat::vllm);
  CHECK(read_foreign(kVllm, "t").rows.size() == 2);
  CHECK(read_foreign(kSpace, "t").format == ExchangeFormat::fair_space);
  CHECK(read_foreign(kResults, "t").format == ExchangeFormat::fair_results);
  CHECK(read_foreign(data(kAiterFiles[0]), "t").rows.size() == 395);
  CHECK(read_foreign(data(kAiterFiles[1]), "t").rows.size() == 118);
  const std::string crlf = "\r\n", line = aiter("256", "1", "29.2");
  std::string windows;
  for (const char c : line) windows += c == '\n' ? crlf : std::string(1, c);
  CHECK(write_foreign(read_foreign(windows, "t")) == windows);
  const std::string open = line.substr(0, line.size() - 1);  // no newline at the end
  CHECK(write_foreign(read_foreign(open, "t")) == open);
}

TEST_CASE("exchange: JSON keeps its blanks, its escapes and the digits of its numbers") {
  const std::string odd =
      "\n { \"triton_version\" :\t\"3\\u002e5 ]}\\\"\", "
      "\"16\":{\"a\":1.50,\"b\":3.6167678833007812,"
      "\"c\": -0, \"d\": [ 1e2,{\"x\": \"}\"} ]}\r\n,\"1\" : {} } \n\n";
  const ForeignTable table = read_foreign(odd, "t");
  REQUIRE(table.rows.size() == 2);
  CHECK(table.rows[0].key == "16");
  CHECK(table.rows[0].fields.starts_with("{\"a\":1.50,"));
  CHECK(write_foreign(table) == odd);
  for (const std::string& text :
       {std::string(R"({"results":[],"x":1})"),
        std::string(
            R"({"x":[1],"results" : [ {"configuration":{"a":1.10}} ,)"
            "\n"
            R"({"configuration":{"a":2}, "times": {"runtimes": [3.6167678833007812]}}]})")}) {
    CAPTURE(text);
    CHECK(read_foreign(text, "t").format == ExchangeFormat::fair_results);
    CHECK(write_foreign(read_foreign(text, "t")) == text);
  }
}

TEST_CASE("exchange: AITER rows that no device can have measured are flagged, foreign ones kept") {
  const ForeignTable qwen = read_foreign(data(kAiterFiles[1]), "qwen");
  CHECK(flagged(qwen.rows[0], "column bw is 55203 GB/s, above the device's 8000"));
  CHECK(std::count_if(qwen.rows.begin(), qwen.rows.end(),
                      [](const ForeignRow& r) { return !r.kind.empty(); }) == 22);
  const ForeignTable deepseek = read_foreign(data(kAiterFiles[0]), "ds");
  CHECK(flagged(deepseek.rows[0], "the same us as at token=4096"));
  CHECK(deepseek.rows[0].kind == "ActivationType.Gelu, QuantType.No");
  CHECK(flagged(deepseek.rows[3], "TFLOP/s, above the device's 344"));
  CHECK(read_foreign(aiter("256", "1", "29.2"), "t").rows[0].flags.empty());
  CHECK(flagged(read_foreign(aiter("256", "1", "3.8"), "t").rows[0], "GB/s at least"));
  for (const char* us : {"0", "-1"})
    CHECK(flagged(read_foreign(aiter("256", "1", us), "t").rows[0], "expected a time above 0"));
  CHECK(flagged(read_foreign(kResults, "t").rows[1], "measured 0.0"));
  CHECK(read_foreign(kResults, "t").rows[0].flags.empty());
}

TEST_CASE("exchange: what is no table gives one error that says where") {
  const std::string good = aiter("256", "1", "29.2");
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "t: empty"},
      {" \n", "t: empty"},
      {"{", "t: not JSON"},
      {"{}", "t: no batch size"},
      {R"({"1": {"a": 1}, "1": {"a": 2}})", "'1' is there twice"},
      {R"({"1": 3})", "batch size 1: expected an object"},
      {R"({"x": {"a": 1}})", "key 'x', expected a batch size"},
      {R"({"results": [7]})", "row 1: expected an object with 'configuration'"},
      {R"({"1": {"a": NaN}})", "t: not JSON"},
      {"a,b\n1,2\n", "t:1: column cu_num is not there once"},
      {good + "256,1\n", "t:3: 2 columns, expected 14"},
      {aiter("256", "1", "nan"), "t:2: column us is 'nan', expected a number"},
      {aiter("256", "1", "1e999"), "t:2: column us is '1e999', expected a number"},
      {aiter("256", "", "1"), "t:2: column token is '', expected a number"},
      {std::string("{\"1\": ") + std::string(5000, '['), "nested deeper"}};
  for (const auto& [text, message] : bad) {
    CAPTURE(text.substr(0, 60));
    CHECK_THROWS_WITH_AS(read_foreign(text, "t"), doctest::Contains(message.c_str()), Error);
  }
}

TEST_CASE("B35: exchange: a row that is there twice is kept and named") {
  const std::string one = aiter("256", "1", "29.2");
  const std::string again = one + one.substr(one.find('\n') + 1);
  const ForeignTable table = read_foreign(again, "t");
  REQUIRE(table.duplicates.size() == 1);
  CHECK(table.duplicates[0].starts_with("row 2 repeats row 1: 256,1,2048,512"));
  CHECK(write_foreign(table) == again);
}

TEST_CASE("exchange: a database gives a table back exactly, once, and never under another's name") {
  const TemporaryFolder folder;
  const Store store = Store::create_or_open(folder / "x.db");
  CHECK(foreign_table_names(store).empty());
  CHECK_THROWS_WITH_AS(foreign_table(store, "t"), doctest::Contains("none was imported"), Error);
  const std::string text = data(kAiterFiles[1]);
  CHECK(add_foreign(store, read_foreign(text, "t")));
  CHECK_FALSE(add_foreign(store, read_foreign(text, "t")));
  CHECK_THROWS_WITH_AS(add_foreign(store, read_foreign(kVllm, "t")),
                       doctest::Contains("holds another table 't' already"), Error);
  CHECK(add_foreign(store, read_foreign(kVllm, "u")));
  const ForeignTable back = foreign_table(store, "t");
  CHECK(write_foreign(back) == text);
  CHECK(back.rows[0].flags == read_foreign(text, "t").rows[0].flags);
  CHECK(write_foreign(foreign_table(store, "u")) == kVllm);
  CHECK(foreign_table_names(store) == std::vector<std::string>{"t", "u"});
}

TEST_CASE("B34: exchange: device names make file names that stay in their folder") {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"NVIDIA H100 80GB HBM3", "NVIDIA_H100_80GB_HBM3"},
      {"AMD Instinct MI300X/OAM", "AMD_Instinct_MI300X_OAM"},
      {"../../etc/passwd", "etc_passwd"},
      {"a..b", "a._b"},
      {"x\n\";rm -rf *", "x_rm_-rf"},
      {"", "unknown"},
      {"///", "unknown"}};
  for (const auto& [name, safe] : names) {
    CAPTURE(name);
    CHECK(sanitized_device_name(name) == safe);
    CHECK(sanitized_device_name(safe) == safe);
  }
  CHECK(sanitized_device_name(std::string(1000, 'x')).size() == 120);
  CHECK(vllm_file_name(512, 256, "AMD/MI300X", "fp8_w8a8", "[128,128]") ==
        "E=512,N=256,device_name=AMD_MI300X,dtype=fp8_w8a8,block_shape=[128,128].json");
  CHECK(vllm_file_name(8, 64, "H100", "", "") == "E=8,N=64,device_name=H100.json");
}

}  // namespace fse::test
