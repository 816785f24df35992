#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace fse {

// A tensor of a safetensors file: a view into the mapped file.
struct TensorView {
  std::string dtype;  // as in the file: F64 F32 F16 BF16 F8_E4M3 I64 I32 U8 ...
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::string file;  // where it came from, for error messages
  int64_t elements() const;
  double at(int64_t index) const;  // any supported dtype as float64; throws std::logic_error
};

// One file, or a sharded checkpoint by its index file: read-only, memory-mapped. Opening checks
// everything a hostile file could get wrong (header size, JSON, duplicate names, offsets beyond the
// file, overlaps, holes, bytes against dtype and shape) and throws Error(data) "FILE: tensor: what,
// expected what"; it never reads out of bounds afterwards.
class Safetensors {
 public:
  static Safetensors open(const std::filesystem::path& file);
  // DIR/model.safetensors, or every shard that DIR/model.safetensors.index.json names.
  static Safetensors open_checkpoint(const std::filesystem::path& dir);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  const TensorView& at(const std::string& name) const;  // throws Error(data) naming the tensor
  bool contains(const std::string& name) const { return tensors_.count(name) > 0; }

 private:
  std::vector<std::shared_ptr<const void>> mappings_;
  std::map<std::string, TensorView> tensors_;
};

// For tests and traces. `tensors`: name, dtype, shape, raw bytes.
struct TensorData {
  std::string name, dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};
void write_safetensors(const std::filesystem::path& file, const std::vector<TensorData>& tensors);

}  // namespace fse
