#include "experiments/kernel_table.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <regex>

#include "core/error.h"
#include "core/read_file.h"
#include "experiments/yaml_reader.h"
#include "tuner/exchange.h"

namespace fse {
namespace {

using Cells = std::vector<std::string>;

// Columns that make two rows rows of one shape; expert and topk aside.
constexpr std::array kShape = {"cu_num",   "model_dim",      "inter_dim", "act_type",
                               "dtype",    "q_dtype_a",      "q_dtype_w", "q_type",
                               "use_g1u1", "doweight_stage1"};

int whole(const KernelRow& row, const char* column, const std::string& file) {
  const std::optional<int64_t> value = parse_integer(row.cells.at(column));
  if (!value || *value < 1 || *value > 1 << 24)
    fail_data(fmt::format("{}:{}: column {} is '{}', expected a whole number from 1", file,
                          row.line, column, row.cells.at(column)));
  return static_cast<int>(*value);
}

DType dtype_of(const KernelRow& row) {
  const std::string& weights = row.cells.at("q_dtype_w");
  return weights.starts_with("torch.float8") ? DType::fp8_block128 : DType::bf16;
}

// "..._1tg_ps_32x384E", "..._128x64_pf3E": rows x columns; "moe_ck2stages_gemm1_256x32x64x128_...":
// threads x rows x columns x depth.
GroupedTile tile_of(const std::string& kernel) {
  static const std::regex composable("gemm1_[0-9]+x([0-9]+)x([0-9]+)x[0-9]+_");
  static const std::regex assembly("_([0-9]+)x([0-9]+)(_pf[0-9])?E$");
  std::smatch match;
  if (!std::regex_search(kernel, match, composable) && !std::regex_search(kernel, match, assembly))
    return {};
  const auto number = [&](size_t i) {
    return static_cast<int>(parse_integer(match[i].str()).value_or(0));
  };
  return {.block_m = number(1), .columns = number(2)};
}

void mark_doubtful(std::vector<KernelRow>& rows) {
  for (KernelRow& row : rows) {
    if (!(row.us > 0)) row.doubt = "no time";
    for (const KernelRow& other : rows) {
      if (!row.doubt.empty()) break;
      bool alike = other.us == row.us && other.tokens != row.tokens &&
                   other.layer.routing.experts == row.layer.routing.experts &&
                   other.layer.routing.top_k == row.layer.routing.top_k;
      for (const char* column : kShape)
        alike = alike && other.cells.at(column) == row.cells.at(column);
      if (alike) row.doubt = fmt::format("the very time of tokens={}", other.tokens);
    }
  }
}

}  // namespace

std::vector<KernelRow> read_kernel_table(const std::filesystem::path& file) {
  const std::optional<std::string> text = read_file(file);
  if (!text) fail_usage(fmt::format("{}: cannot be read, expected a table", file.string()));
  const ForeignTable table = read_foreign(*text, file.filename().string());
  if (table.format != ExchangeFormat::aiter)
    fail_data(fmt::format("{}: not a table of AITER's tuned_fmoe columns", file.string()));
  const Cells columns = nlohmann::json::parse(table.header).at("columns").get<Cells>();
  std::vector<KernelRow> rows;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    KernelRow row{.line = static_cast<int>(i) + 2};
    const Cells cells = nlohmann::json::parse(table.rows[i].fields).get<Cells>();
    for (size_t c = 0; c < columns.size(); ++c) row.cells[columns[c]] = cells[c];
    const auto number = [&](const char* name) { return whole(row, name, table.name); };
    row.layer.hidden = number("model_dim");
    row.layer.intermediate = number("inter_dim");
    row.layer.routing.experts = number("expert");
    row.layer.routing.top_k = number("topk");
    row.layer.dtype = dtype_of(row);
    const std::string& scaled = row.cells.at("q_type");
    row.scales = scaled == "QuantType.per_Token" ? Scales::channel : Scales::block128;
    const auto kernel = row.cells.find("kernelName1");
    if (kernel != row.cells.end()) row.tile = tile_of(kernel->second);
    row.tokens = number("token");
    row.us = parse_number(row.cells.at("us")).value_or(0);
    rows.push_back(std::move(row));
  }
  mark_doubtful(rows);
  return rows;
}

std::vector<TunedRow> tuned_rows(const std::vector<KernelRow>& rows, double compute_units) {
  std::vector<TunedRow> tuned;
  for (const KernelRow& row : rows) {
    const auto units = parse_number(row.cells.at("cu_num"));
    if (!row.doubt.empty() || units != compute_units || row.tile.columns == 0) continue;
    tuned.push_back({.hidden = row.layer.hidden,
                     .intermediate = row.layer.intermediate,
                     .experts = row.layer.routing.experts,
                     .top_k = row.layer.routing.top_k,
                     .tokens = row.tokens,
                     .us = row.us,
                     .tile = row.tile});
  }
  return tuned;
}

const KernelRow* without_slot(const std::vector<KernelRow>& rows, const KernelRow& slot) {
  for (const KernelRow& row : rows) {
    bool alike = row.doubt.empty() && row.tokens == slot.tokens &&
                 row.layer.routing.experts + 1 == slot.layer.routing.experts &&
                 row.layer.routing.top_k + 1 == slot.layer.routing.top_k;
    for (const char* column : kShape)
      alike = alike && row.cells.at(column) == slot.cells.at(column);
    if (alike) return &row;
  }
  return nullptr;
}

}  // namespace fse
