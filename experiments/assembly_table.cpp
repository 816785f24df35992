#include "experiments/assembly_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>

namespace fse {
namespace {

// "fse::gpu::stream<fse::gpu::StreamTile{0,8}, fse::gpu::Shape{2,2048,512,512}, 1>", read.
struct Instance {
  std::string kernel, weights, tile;
};

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const size_t from = text.find(begin);
  if (from == std::string::npos) return "";
  const size_t first = from + begin.size();
  return text.substr(first, text.find(end, first) - first);
}

Instance read_instance(const std::string& text) {
  constexpr std::array kFormats{"bf16", "f16", "fp8", "fp8, fp8 activations"};
  constexpr std::array kOps{"gate_gemm", "grouped_stage1", "grouped_stage2", "mlp_stage1",
                            "mlp_stage2"};
  const std::string format = between(text, "Shape{", ",");
  Instance i{.kernel = between(text, "fse::gpu::", "<"),
             .weights = format.empty() ? "any" : kFormats.at(static_cast<size_t>(format[0] - '0')),
             .tile = "{" + between(text, "Tile{", "}") + "}"};
  const char op = text[text.size() - 2];  // '}' where the instance does a single op
  if (op != '}') i.kernel += fmt::format(" {}", kOps.at(static_cast<size_t>(op - '0')));
  return i;
}

// "v_mfma_f32_16x16x16_bf16:16 v_mfma_f32_16x16x32_bf16:4" without prefixes and counts.
std::string matrix_forms(const std::string& matrix) {
  constexpr std::string_view kPrefix = "v_mfma_f32_";
  std::istringstream words(matrix);
  std::string forms;
  for (std::string word; words >> word;) {
    word = word.substr(0, word.find(':'));
    if (word.starts_with(kPrefix)) word = word.substr(kPrefix.size());
    forms += (forms.empty() ? "" : " ") + word;
  }
  return forms;
}

std::string cells(const Assembly& a) {
  return fmt::format("{} {}, {}, {} | {}", read_instance(a.instance).tile, a.vector_registers,
                     a.lds_bytes, a.occupancy, matrix_forms(a.matrix));
}

}  // namespace

std::string assembly_markdown(const std::vector<std::pair<std::string, AssemblyTable>>& tables) {
  // Of each kernel and number format: by architecture, the cells of its default tiles.
  std::map<std::pair<std::string, std::string>, std::vector<std::vector<std::string>>> rows;
  for (size_t t = 0; t < tables.size(); ++t)
    for (const Assembly& a : tables[t].second.rows) {
      if (!a.is_default) continue;
      const Instance i = read_instance(a.instance);
      auto& row = rows[{i.kernel, i.weights}];
      row.resize(tables.size());
      row[t].push_back(cells(a));
    }
  std::string text = "| kernel | weights |", line = "|---|---|";
  for (const auto& [arch, table] : tables) {
    text += fmt::format(" {}: tile, VGPRs, LDS, waves per SIMD | MFMA |", arch);
    line += "---|---|";
  }
  text += "\n" + line + "\n";
  for (const auto& [key, row] : rows) {
    size_t lines = 0;
    for (const auto& column : row) lines = std::max(lines, column.size());
    for (size_t i = 0; i < lines; ++i) {
      text += fmt::format("| {} | {} |", key.first, key.second);
      for (const auto& column : row)
        text += fmt::format(" {} |", i < column.size() ? column[i] : "- | -");
      text += "\n";
    }
  }
  return text;
}

}  // namespace fse
