#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/safetensors.h"

namespace fse::test {

// A trace with these rows of equal length.
inline void write_trace(const std::filesystem::path& file,
                        const std::vector<std::vector<int64_t>>& rows) {
  TensorData tensor{.name = "topk_ids",
                    .dtype = "I64",
                    .shape = {static_cast<int64_t>(rows.size()),
                              rows.empty() ? 1 : static_cast<int64_t>(rows[0].size())},
                    .bytes = {}};
  for (const std::vector<int64_t>& row : rows)
    for (const int64_t id : row) {
      const auto* bytes = reinterpret_cast<const std::byte*>(&id);
      tensor.bytes.insert(tensor.bytes.end(), bytes, bytes + sizeof id);
    }
  write_safetensors(file, {tensor});
}

}  // namespace fse::test
