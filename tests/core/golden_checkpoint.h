#pragma once
#include <algorithm>
#include <string>
#include <vector>

#include "core/safetensors.h"
#include "core/weights.h"
#include "tests/core/golden_layers.h"

namespace fse {

inline const std::string kPrefix = "model.layers.0.mlp.";  // of every golden layer

inline LayerWeights load(const LayerSpec& layer, const std::filesystem::path& dir,
                         const std::string& prefix = "") {
  return load_weights(layer, make_shard(layer, 1, 0), dir, prefix);
}

// A golden checkpoint as a list that a test may change before it writes it elsewhere.
struct Checkpoint {
  test::TemporaryFolder dir;
  std::vector<TensorData> tensors;

  explicit Checkpoint(const std::string& folder) {
    const Safetensors st = Safetensors::open_checkpoint(golden_dir(folder));
    for (const auto& [name, view] : st.tensors())
      tensors.push_back({name, view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}});
  }
  TensorData& at(const std::string& tail) {
    for (TensorData& t : tensors)
      if (t.name == kPrefix + tail) return t;
    throw std::logic_error("no tensor " + tail);
  }
  void erase(const std::string& tail) {
    std::erase_if(tensors, [&](const TensorData& t) { return t.name == kPrefix + tail; });
  }
  void add(const std::string& tail, TensorData tensor) {
    tensor.name = kPrefix + tail;
    tensors.push_back(std::move(tensor));
  }
  void rename(const std::string& from, const std::string& to) {
    for (TensorData& t : tensors)
      if (const size_t at = t.name.find(from); at != std::string::npos)
        t.name.replace(at, from.size(), to);
  }
  const std::filesystem::path& write() const {
    write_safetensors(dir.path() / "model.safetensors", tensors);
    return dir.path();
  }
};

}  // namespace fse
