#include "core/safetensors.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "core/error.h"
#include "tests/core/golden_layers.h"

namespace fse {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> bytes_of(const auto& values) {
  const auto* data = reinterpret_cast<const std::byte*>(values.data());
  return {data, data + values.size() * sizeof(values[0])};
}

TensorData floats(const std::string& name, std::vector<float> values) {
  return {name, "F32", {static_cast<int64_t>(values.size())}, bytes_of(values)};
}

void write_bytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

std::string read_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string with_header(const std::string& header, size_t data_bytes) {
  std::string file(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, '\x01');
}

TEST_CASE("what is written is read back") {
  test::TemporaryFolder dir;
  const fs::path file = dir.path() / "a.safetensors";
  write_safetensors(file, {floats("b", {1.5f, -2}),
                           {"ids", "I64", {2, 1}, bytes_of(std::vector<int64_t>{-3, 1 << 20})},
                           {"none", "BF16", {0, 4}, {}}});
  const Safetensors st = Safetensors::open(file);
  CHECK(st.tensors().size() == 3);
  CHECK(st.at("b").at(1) == -2);
  CHECK(st.at("ids").shape == std::vector<int64_t>{2, 1});
  CHECK(st.at("ids").at(0) == -3);
  CHECK(st.at("ids").file == file.string());
  CHECK(st.at("none").elements() == 0);
  check_message(data_error([&] { st.at("c"); }), {file.string(), "tensor 'c': missing"});
  CHECK_THROWS_AS(st.at("b").at(2), std::logic_error);
  CHECK_THROWS_AS(st.at("b").at(-1), std::logic_error);
}

TEST_CASE("elements are read in every dtype, at any alignment") {
  test::TemporaryFolder dir;
  const fs::path file = dir.path() / "a.safetensors";
  // One byte first: all that follows is unaligned.
  write_safetensors(file, {{"u8", "U8", {1}, bytes_of(std::vector<uint8_t>{200})},
                           {"f64", "F64", {1}, bytes_of(std::vector<double>{0.1})},
                           {"f32", "F32", {}, bytes_of(std::vector<float>{0.25f})},
                           {"f16", "F16", {1}, bytes_of(std::vector<uint16_t>{0x3c00})},
                           {"bf16", "BF16", {1}, bytes_of(std::vector<uint16_t>{0xbf80})},
                           {"f8", "F8_E4M3", {2}, bytes_of(std::vector<uint8_t>{0x7e, 0x7f})},
                           {"i32", "I32", {1}, bytes_of(std::vector<int32_t>{-7})},
                           {"c64", "C64", {1}, bytes_of(std::vector<float>{1, 2})}});
  const Safetensors st = Safetensors::open(file);
  CHECK(st.at("u8").at(0) == 200);
  CHECK(st.at("f64").at(0) == 0.1);
  CHECK(st.at("f32").at(0) == 0.25);
  CHECK(st.at("f16").at(0) == 1);
  CHECK(st.at("bf16").at(0) == -1);
  CHECK(st.at("f8").at(0) == 448);
  CHECK(std::isnan(st.at("f8").at(1)));
  CHECK(st.at("i32").at(0) == -7);
  CHECK_THROWS_AS(st.at("c64").at(0), std::logic_error);
}

TEST_CASE("a damaged file gives one error that names file and tensor") {
  test::TemporaryFolder dir;
  const fs::path file = dir.path() / "bad.safetensors";
  const std::string entry = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const auto tensor = [](const std::string& fields) { return R"({"w":{)" + fields + "}}"; };
  const std::string two = R"({"v":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":)";
  struct Bad {
    std::string header;
    size_t data;
    std::vector<std::string> says;
  };
  const std::vector<Bad> cases = {
      {"nonsense", 0, {"header: not JSON"}},
      {"[1]", 0, {"expected a JSON object"}},
      {"{\"w\":" + entry, 8, {"not JSON"}},
      {"{\"w\":" + entry + ",\"w\":" + entry + "}", 8, {"'w' is there twice"}},
      {tensor(R"("dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8])"), 8, {"'shape'"}},
      {std::string(100000, '['), 0, {"nested deeper"}},
      {"{\"w\":" + std::string(50000, '['), 0, {"nested deeper"}},
      {R"({"w":3})", 0, {"tensor 'w'", "expected dtype, shape and data_offsets"}},
      {tensor(R"("shape":[2],"data_offsets":[0,8])"), 8, {"tensor 'w'", "dtype"}},
      {tensor(R"("dtype":5,"shape":[2],"data_offsets":[0,8])"), 8, {"tensor 'w'", "dtype"}},
      {tensor(R"("dtype":"Q4","shape":[2],"data_offsets":[0,8])"), 8, {"tensor 'w'", "'Q4'"}},
      {tensor(R"("dtype":"F32","data_offsets":[0,8])"), 8, {"tensor 'w'", "shape"}},
      {tensor(R"("dtype":"F32","shape":[-2],"data_offsets":[0,8])"), 8, {"'w'", "holds -2"}},
      {tensor(R"("dtype":"F32","shape":[2.0],"data_offsets":[0,8])"), 8, {"'w'", "holds 2.0"}},
      {tensor(R"("dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,8])"), 8, {"'w'"}},
      {tensor(R"("dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,8])"),
       8,
       {"tensor 'w'", "2^63"}},
      {tensor(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"), 1, {"'w'", "whole bytes"}},
      {tensor(R"("dtype":"F32","shape":[2])"), 8, {"tensor 'w'", "data_offsets"}},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[8])"), 8, {"'w'", "data_offsets [8]"}},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8, {"'w'", "[8, 0]"}},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,9])"), 8, {"'w'", "<= 8"}},
      {tensor(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])"), 8, {"'w'", "expected 12"}},
      {tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1)"), 8, {"'w'", "key 'x'"}},
      {two + R"({"dtype":"U8","shape":[3],"data_offsets":[3,6]}})", 6, {"'w'", "inside"}},
      {two + R"({"dtype":"U8","shape":[3],"data_offsets":[5,8]}})", 8, {"'w'", "hole"}},
      {"{\"w\":" + entry + "}", 9, {"9 bytes of data, expected 8"}},
      {"{\"\xff\":" + entry + "}", 8, {"not JSON"}},
  };
  for (const Bad& bad : cases) {
    CAPTURE(bad.header.substr(0, 200));
    write_bytes(file, with_header(bad.header, bad.data));
    const std::string message = data_error([&] { Safetensors::open(file); });
    check_message(message, {file.string()});
    for (const std::string& part : bad.says) check_message(message, {part});
  }
}

TEST_CASE("a file that is no safetensors file at all") {
  test::TemporaryFolder dir;
  const fs::path file = dir.path() / "bad.safetensors";
  check_message(data_error([&] { Safetensors::open(file); }), {file.string(), "cannot be opened"});
  check_message(data_error([&] { Safetensors::open(dir.path()); }), {"not a regular file"});
  for (const std::string& content : {std::string(), std::string("1234567")}) {
    write_bytes(file, content);
    check_message(data_error([&] { Safetensors::open(file); }), {file.string(), "at least the 8"});
  }
  for (const uint64_t length : {uint64_t{1}, uint64_t{100'000'001}, UINT64_MAX, UINT64_MAX - 7}) {
    std::string content(8, '\0');
    std::memcpy(content.data(), &length, 8);
    write_bytes(file, content);
    check_message(data_error([&] { Safetensors::open(file); }), {"header of", "expected at most"});
  }
}

TEST_CASE("control characters of a hostile name do not reach the message") {
  test::TemporaryFolder dir;
  const fs::path file = dir.path() / "bad.safetensors";
  write_bytes(file, with_header(R"({"\u001b[31mred":3})", 0));
  check_message(data_error([&] { Safetensors::open(file); }), {"tensor '?[31mred'"});
}

TEST_CASE("flipped bytes and truncation end in a readable file or an error") {
  test::TemporaryFolder dir;
  const fs::path good = dir.path() / "good.safetensors";
  const fs::path file = dir.path() / "bad.safetensors";
  write_safetensors(good, {floats("a", {1, 2, 3}),
                           {"b", "U8", {3}, bytes_of(std::vector<uint8_t>{1, 2, 3})},
                           {"c", "BF16", {2, 2}, bytes_of(std::vector<uint16_t>{1, 2, 3, 4})}});
  const std::string content = read_bytes(good);
  const bool holds = rc::check([&] {
    std::string changed = content;
    const int flips = *rc::gen::inRange(0, 4);
    for (int i = 0; i < flips; ++i) {
      const size_t at = *rc::gen::inRange<size_t>(0, changed.size());
      changed[at] = static_cast<char>(*rc::gen::inRange(0, 256));
    }
    if (*rc::gen::arbitrary<bool>()) changed.resize(*rc::gen::inRange<size_t>(0, changed.size()));
    write_bytes(file, changed);
    try {
      double sum = 0;
      const Safetensors st = Safetensors::open(file);
      for (const auto& [name, tensor] : st.tensors())
        for (int64_t i = 0; i < tensor.elements() && tensor.dtype != "C64"; ++i)
          sum += tensor.at(i);
      RC_TAG(std::isfinite(sum) ? "readable" : "readable, not finite");
    } catch (const Error& error) {
      RC_ASSERT(error.kind == ErrorKind::data);
      RC_ASSERT(std::string(error.what()).find("bad.safetensors") != std::string::npos);
      RC_TAG("refused");
    } catch (const std::logic_error&) {  // a flip made it a dtype that cannot be read as numbers
      RC_TAG("unreadable dtype");
    }
  });
  CHECK(holds);
}

void write_index(const fs::path& dir, const std::string& weight_map) {
  write_bytes(dir / "model.safetensors.index.json", "{\"weight_map\":" + weight_map + "}");
}

TEST_CASE("a sharded checkpoint reads as one") {
  test::TemporaryFolder dir;
  write_safetensors(dir.path() / "s1.safetensors", {floats("a", {1})});
  write_safetensors(dir.path() / "s2.safetensors", {floats("b", {2}), floats("c", {3})});
  write_index(dir.path(), R"({"a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors"})");
  const Safetensors st = Safetensors::open_checkpoint(dir.path());
  CHECK(st.tensors().size() == 3);
  CHECK(st.at("c").at(0) == 3);
  CHECK(st.at("a").file == (dir.path() / "s1.safetensors").string());
}

TEST_CASE("an index that does not fit its shards is an error") {
  test::TemporaryFolder dir;
  check_message(
      data_error([&] { Safetensors::open_checkpoint(dir.path()); }),
      {dir.path().string(), "expected model.safetensors or model.safetensors.index.json"});
  write_safetensors(dir.path() / "s1", {floats("a", {1}), floats("b", {1})});
  write_safetensors(dir.path() / "s2", {floats("b", {2})});
  const auto message = [&](const std::string& weight_map) {
    write_index(dir.path(), weight_map);
    return data_error([&] { Safetensors::open_checkpoint(dir.path()); });
  };
  check_message(message(R"({"a":"s1","b":"s2"})"), {"s1", "tensor 'b'", "index has it in 's2'"});
  check_message(message(R"({"a":"s1"})"), {"s1", "tensor 'b'", "not in the index"});
  check_message(message(R"({"a":"s1","b":"s1","c":"s1"})"), {"tensor 'c'", "not in 's1'"});
  check_message(message(R"({"a":"s1","b":"s1","c":"s3"})"),
                {"index.json", "shard 's3' is missing, expected it beside the index"});
  check_message(message(R"({"a":"s1","a":"s2"})"), {"'a' is there twice"});
  check_message(message(R"({"a":7})"), {"tensor 'a'", "file name"});
  check_message(message("3"), {"no object 'weight_map'"});
  for (const std::string path : {"../s1", "/etc/passwd", "x/s1", "..", ".", "", "s1\\u0000"})
    check_message(message("{\"a\":\"" + path + "\"}"),
                  {"tensor 'a'", "expected a plain file name"});
}

}  // namespace
}  // namespace fse
