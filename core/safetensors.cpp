#include "core/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "core/dtype.h"
#include "core/error.h"
#include "core/mapped_file.h"
#include "core/strict_json.h"

namespace fse {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr uint64_t kLargestHeader = 100'000'000;  // the format's own limit
constexpr int kDeepestJson = 8;                   // a valid header nests three levels

[[noreturn]] void fail(const fs::path& file, const std::string& what) {
  fail_data(printable(file.string()) + ": " + what);
}

[[noreturn]] void fail_tensor(const fs::path& file, const std::string& name,
                              const std::string& what) {
  fail(file, fmt::format("tensor '{}': {}", printable(name), what));
}

json parse_json(const fs::path& file, std::span<const std::byte> bytes, const char* what) {
  const std::string where = fmt::format("{}: {}", printable(file.string()), what);
  const auto* text = reinterpret_cast<const char*>(bytes.data());
  return parse_strict_json({text, bytes.size()}, where, kDeepestJson);
}

int dtype_bits(const std::string& dtype) {
  static constexpr std::pair<const char*, int> kBits[] = {
      {"F64", 64},    {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F8_E4M3", 8},
      {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
      {"I64", 64},    {"I32", 32},    {"I16", 16},    {"I8", 8},      {"U64", 64},
      {"U32", 32},    {"U16", 16},    {"U8", 8},      {"BOOL", 8},    {"C64", 64}};
  for (const auto& [name, bits] : kBits)
    if (dtype == name) return bits;
  return 0;
}

// A JSON array of integers in [0, 2^63); anything else is refused.
std::vector<int64_t> integers(const fs::path& file, const std::string& name, const json& entry,
                              const char* key) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_array())
    fail_tensor(file, name, fmt::format("no array '{}', expected one", key));
  std::vector<int64_t> values;
  for (const json& value : *found) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{INT64_MAX})
      fail_tensor(file, name,
                  fmt::format("{} holds {}, expected integers from 0 to 2^63 - 1", key,
                              printable(value.dump())));
    values.push_back(value.get<int64_t>());
  }
  return values;
}

int64_t expected_bytes(const fs::path& file, const std::string& name, const TensorView& tensor) {
  const int bits = dtype_bits(tensor.dtype);
  if (bits == 0)
    fail_tensor(file, name,
                fmt::format("dtype '{}', expected F64, F32, F16, BF16, F8_E4M3, ...",
                            printable(tensor.dtype)));
  int64_t total = bits;
  const bool empty = std::count(tensor.shape.begin(), tensor.shape.end(), 0) > 0;
  for (const int64_t extent : tensor.shape)
    if (!empty && __builtin_mul_overflow(total, extent, &total))
      fail_tensor(file, name, "its shape has more than 2^63 bits, expected a size that fits");
  if (empty) return 0;
  if (total % 8 != 0) fail_tensor(file, name, fmt::format("{} bits, expected whole bytes", total));
  return total / 8;
}

struct Extent {
  int64_t begin = 0, end = 0;
  std::string name;
};

TensorView read_entry(const fs::path& file, const std::string& name, const json& entry,
                      std::span<const std::byte> data, std::vector<Extent>& extents) {
  if (!entry.is_object()) fail_tensor(file, name, "expected dtype, shape and data_offsets");
  for (const auto& [key, value] : entry.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      fail_tensor(file, name,
                  fmt::format("key '{}', expected dtype, shape and data_offsets", printable(key)));
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string())
    fail_tensor(file, name, "no text 'dtype', expected one");
  TensorView tensor{.dtype = dtype->get<std::string>(),
                    .shape = integers(file, name, entry, "shape"),
                    .bytes = {},
                    .file = file.string()};
  const int64_t bytes = expected_bytes(file, name, tensor);
  const std::vector<int64_t> offsets = integers(file, name, entry, "data_offsets");
  const auto available = static_cast<int64_t>(data.size());
  if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > available)
    fail_tensor(file, name,
                fmt::format("data_offsets [{}], expected begin <= end <= {}, the bytes of data",
                            fmt::join(offsets, ", "), available));
  if (offsets[1] - offsets[0] != bytes)
    fail_tensor(file, name,
                fmt::format("{} bytes, expected {} for {} [{}]", offsets[1] - offsets[0], bytes,
                            tensor.dtype, fmt::join(tensor.shape, ", ")));
  tensor.bytes = data.subspan(static_cast<size_t>(offsets[0]), static_cast<size_t>(bytes));
  extents.push_back({offsets[0], offsets[1], name});
  return tensor;
}

// The tensors, in order of their offsets, must tile the data exactly.
void check_tiling(const fs::path& file, std::vector<Extent> extents, int64_t data_bytes) {
  std::sort(extents.begin(), extents.end(), [](const Extent& a, const Extent& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  int64_t end = 0;
  for (const Extent& extent : extents) {
    if (extent.begin < end)
      fail_tensor(
          file, extent.name,
          fmt::format("begins at {} inside the tensor before it, expected {}", extent.begin, end));
    if (extent.begin > end)
      fail_tensor(file, extent.name,
                  fmt::format("begins at {} behind a hole, expected {}", extent.begin, end));
    end = extent.end;
  }
  if (end != data_bytes)
    fail(file, fmt::format("{} bytes of data, expected {} from its header", data_bytes, end));
}

std::span<const std::byte> read_header(const fs::path& file, std::span<const std::byte> bytes) {
  if (bytes.size() < 8)
    fail(file, fmt::format("{} bytes, expected at least the 8 of a header length", bytes.size()));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > kLargestHeader || length > bytes.size() - 8)
    fail(file, fmt::format("header of {} bytes, expected at most {}", length,
                           std::min<uint64_t>(kLargestHeader, bytes.size() - 8)));
  return bytes.subspan(8, static_cast<size_t>(length));
}

struct Index {
  fs::path file;
  std::map<std::string, std::string> shard_of;  // by tensor name
};

Index read_index(const fs::path& file) {
  const MappedFile mapping = map_file(file);
  if (mapping.bytes.size() > kLargestHeader)
    fail(file, fmt::format("{} bytes, expected at most {}", mapping.bytes.size(), kLargestHeader));
  const json parsed = parse_json(file, mapping.bytes, "index");
  const auto weights = parsed.find("weight_map");
  if (weights == parsed.end() || !weights->is_object())
    fail(file, "no object 'weight_map', expected tensor names and their shards");
  Index index{file, {}};
  for (const auto& [name, shard] : weights->items()) {
    if (!shard.is_string()) fail_tensor(file, name, "its shard is not text, expected a file name");
    const auto& text = shard.get_ref<const std::string&>();
    // A shard lies beside its index: anything that leads elsewhere is an attack or a mistake.
    const bool plain = !text.empty() && text != "." && text != ".." &&
                       text.find('/') == std::string::npos && text.find('\0') == std::string::npos;
    if (!plain)
      fail_tensor(file, name,
                  fmt::format("shard '{}', expected a plain file name", printable(text)));
    index.shard_of.emplace(name, text);
  }
  return index;
}

template <class T>
T load(const TensorView& tensor, int64_t index) {
  T value;
  std::memcpy(&value, tensor.bytes.data() + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

}  // namespace

int64_t TensorView::elements() const {
  int64_t count = 1;
  if (std::count(shape.begin(), shape.end(), 0) > 0) return 0;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

double TensorView::at(int64_t i) const {
  check(i >= 0 && i < elements(), "the index lies inside the tensor");
  if (dtype == "F64") return load<double>(*this, i);
  if (dtype == "F32") return load<float>(*this, i);
  if (dtype == "F16") return from_f16(load<uint16_t>(*this, i));
  if (dtype == "BF16") return from_bf16(load<uint16_t>(*this, i));
  if (dtype == "F8_E4M3") return from_fp8_e4m3fn(load<uint8_t>(*this, i));
  if (dtype == "I64") return static_cast<double>(load<int64_t>(*this, i));
  if (dtype == "I32") return load<int32_t>(*this, i);
  if (dtype == "I16") return load<int16_t>(*this, i);
  if (dtype == "I8") return load<int8_t>(*this, i);
  if (dtype == "U64") return static_cast<double>(load<uint64_t>(*this, i));
  if (dtype == "U32") return load<uint32_t>(*this, i);
  if (dtype == "U16") return load<uint16_t>(*this, i);
  if (dtype == "U8" || dtype == "BOOL") return load<uint8_t>(*this, i);
  throw std::logic_error("no number can be read from a tensor of dtype " + dtype);
}

Safetensors Safetensors::open(const fs::path& file) {
  const MappedFile mapping = map_file(file);
  const std::span<const std::byte> header = read_header(file, mapping.bytes);
  const std::span<const std::byte> data = mapping.bytes.subspan(8 + header.size());
  Safetensors result;
  result.mappings_.push_back(mapping.owner);
  std::vector<Extent> extents;
  const json entries = parse_json(file, header, "header");
  for (const auto& [name, entry] : entries.items())
    if (name != "__metadata__")
      result.tensors_.emplace(name, read_entry(file, name, entry, data, extents));
  check_tiling(file, std::move(extents), static_cast<int64_t>(data.size()));
  return result;
}

Safetensors Safetensors::open_checkpoint(const fs::path& dir) {
  const fs::path single = dir / "model.safetensors";
  const fs::path index_file = dir / "model.safetensors.index.json";
  std::error_code ignored;
  if (fs::exists(single, ignored)) return open(single);
  if (!fs::exists(index_file, ignored))
    fail(dir, "no weights, expected model.safetensors or model.safetensors.index.json");
  const Index index = read_index(index_file);
  std::set<std::string> shards;
  for (const auto& [name, shard] : index.shard_of) shards.insert(shard);
  Safetensors result;
  for (const std::string& shard : shards) {
    if (!fs::exists(dir / shard, ignored))
      fail(index_file,
           fmt::format("shard '{}' is missing, expected it beside the index", printable(shard)));
    Safetensors part = open(dir / shard);
    result.mappings_.insert(result.mappings_.end(), part.mappings_.begin(), part.mappings_.end());
    for (auto& [name, tensor] : part.tensors_) {
      const auto listed = index.shard_of.find(name);
      if (listed == index.shard_of.end())
        fail_tensor(dir / shard, name, "not in the index, expected every tensor there");
      if (listed->second != shard)
        fail_tensor(dir / shard, name,
                    fmt::format("the index has it in '{}', expected it only there",
                                printable(listed->second)));
      result.tensors_.emplace(name, std::move(tensor));
    }
  }
  for (const auto& [name, shard] : index.shard_of)
    if (!result.contains(name))
      fail_tensor(index_file, name, fmt::format("not in '{}', expected there", printable(shard)));
  return result;
}

const TensorView& Safetensors::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    const std::string where = tensors_.empty() ? "empty file" : tensors_.begin()->second.file;
    fail_tensor(where, name,
                fmt::format("missing, expected among the {} tensors", tensors_.size()));
  }
  return found->second;
}

void write_safetensors(const fs::path& file, const std::vector<TensorData>& tensors) {
  json header = json::object();
  size_t offset = 0;
  for (const TensorData& t : tensors) {
    check(!header.contains(t.name), "tensor names are unique");
    header[t.name] = {{"dtype", t.dtype},
                      {"shape", t.shape},
                      {"data_offsets", {offset, offset + t.bytes.size()}}};
    offset += t.bytes.size();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins at a multiple of 8
  const uint64_t length = text.size();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), 8);
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const TensorData& t : tensors)
    out.write(reinterpret_cast<const char*>(t.bytes.data()),
              static_cast<std::streamsize>(t.bytes.size()));
  out.close();
  if (!out)
    throw Error(ErrorKind::environment, fmt::format("{}: cannot be written", file.string()));
}

}  // namespace fse
