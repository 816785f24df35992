#include "tuner/exchange_aiter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/strict_json.h"

namespace fse {
namespace {

using Json = nlohmann::ordered_json;
using Cells = std::vector<std::string>;

// What a row was tuned for; the others say what was found.
constexpr std::array kKeyColumns = {
    "cu_num", "token",     "model_dim", "inter_dim", "expert",   "topk",           "act_type",
    "dtype",  "q_dtype_a", "q_dtype_w", "q_type",    "use_g1u1", "doweight_stage1"};

// Datasheet peaks of the device a row's cu_num tells: 256 MI355X, 304 MI300X or MI325X (the faster
// memory of both), 80 MI308X (80 of MI300X's 304 compute units). Any other gets the highest of all.
struct Peak {
  double gbs, bf16_tflops;  // fp8 is twice bf16
};
Peak peak_of(double cu_num) {
  if (cu_num == 80) return {5300, 1307.0 * 80 / 304};
  if (cu_num == 304) return {6000, 1307};
  return {8000, 2516};
}
constexpr double kSlack = 1.02;  // clocks may be a little above the datasheet's

Cells split(std::string_view line) {
  Cells cells;
  for (;;) {
    const size_t comma = line.find(',');
    cells.emplace_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

class Columns {
 public:
  Columns(Cells names, std::string file) : names_(std::move(names)), file_(std::move(file)) {
    for (const char* needed : kKeyColumns)
      if (std::count(names_.begin(), names_.end(), needed) != 1) fail_missing(needed);
    if (std::count(names_.begin(), names_.end(), "us") != 1) fail_missing("us");
  }

  const Cells& names() const { return names_; }
  bool has(const std::string& name) const {
    return std::find(names_.begin(), names_.end(), name) != names_.end();
  }
  const std::string& text(const Cells& row, const std::string& name) const {
    return row[static_cast<size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin())];
  }
  double number(const Cells& row, const std::string& name, size_t line) const {
    const std::string& cell = text(row, name);
    double value = 0;
    const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    if (error != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value))
      fail_data(fmt::format("{}:{}: column {} is '{}', expected a number", file_, line, name,
                            printable(cell)));
    return value;
  }

 private:
  [[noreturn]] void fail_missing(const char* column) const {
    fail_data(
        fmt::format("{}:1: column {} is not there once, expected AITER's tuned_fmoe columns "
                    "(or JSON)",
                    file_, column));
  }
  Cells names_;
  std::string file_;
};

std::string key_of(const Columns& columns, const Cells& row) {
  Cells parts;
  for (const char* name : kKeyColumns) parts.push_back(columns.text(row, name));
  return fmt::format("{}", fmt::join(parts, ","));
}

// What fselab's kernels do not do: such rows are kept for what they are.
std::string foreign_kind(const Columns& columns, const Cells& row) {
  Cells kinds;
  if (columns.text(row, "act_type") != "ActivationType.Silu")
    kinds.push_back(columns.text(row, "act_type"));
  const std::string& quantised = columns.text(row, "q_type");
  if (quantised != "QuantType.per_1x128") kinds.push_back(quantised);
  if (columns.text(row, "doweight_stage1") != "0") kinds.push_back("weight on the input");
  return fmt::format("{}", fmt::join(kinds, ", "));
}

// Both are lower bounds of what any kernel must do: every choice of a token multiplies three
// matrices, and at least top_k experts are read.
std::vector<std::string> flags_of(const Columns& columns, const Cells& row, size_t line) {
  const auto number = [&](const char* name) { return columns.number(row, name, line); };
  const double us = number("us");
  if (!(us > 0)) return {fmt::format("us is {}, expected a time above 0", us)};
  std::vector<std::string> flags;
  const bool bytes2 = columns.text(row, "q_dtype_w") == "torch.bfloat16";
  const Peak peak = peak_of(number("cu_num"));
  const double expert = 3 * number("model_dim") * number("inter_dim");
  const double tflops = 2 * expert * number("token") * number("topk") / us / 1e6;
  const double peak_tflops = peak.bf16_tflops * (bytes2 ? 1 : 2);
  if (tflops > kSlack * peak_tflops)
    flags.push_back(fmt::format("{:.0f} TFLOP/s, above the device's {:.0f}", tflops, peak_tflops));
  const double gbs = expert * number("topk") * (bytes2 ? 2 : 1) / us / 1e3;
  if (gbs > kSlack * peak.gbs)
    flags.push_back(
        fmt::format("reads {:.0f} GB/s at least, above the device's {:.0f}", gbs, peak.gbs));
  if (columns.has("bw") && number("bw") > kSlack * peak.gbs)
    flags.push_back(
        fmt::format("column bw is {:.0f} GB/s, above the device's {:.0f}", number("bw"), peak.gbs));
  return flags;
}

// Rows that differ in their token count alone and took the same time to the last digit: at most one
// of them was measured.
void flag_twins(ForeignTable& table, const Columns& columns, const std::vector<Cells>& cells) {
  std::map<std::string, std::vector<size_t>> alike;
  for (size_t i = 0; i < cells.size(); ++i) {
    std::string key = columns.text(cells[i], "us");
    for (const char* name : kKeyColumns)
      if (std::string_view(name) != "token") key += "," + columns.text(cells[i], name);
    alike[key].push_back(i);
  }
  for (const auto& [key, rows] : alike)
    for (const size_t i : rows)
      for (const size_t other : rows) {
        if (columns.text(cells[other], "token") == columns.text(cells[i], "token")) continue;
        table.rows[i].flags.push_back(
            fmt::format("the same us as at token={}", columns.text(cells[other], "token")));
        break;
      }
}

}  // namespace

ForeignTable read_aiter(std::string_view text, const std::string& name) {
  const bool crlf = text.find("\r\n") != std::string_view::npos;
  const std::string_view ending = crlf ? "\r\n" : "\n";
  const bool closed = text.ends_with(ending);
  if (closed) text.remove_suffix(ending.size());
  if (text.find('"') != std::string_view::npos)
    fail_data(fmt::format("{}: a quote, expected AITER's plain commas", name));
  std::vector<Cells> lines;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(ending, at), text.size());
    lines.push_back(split(text.substr(at, end - at)));
    at = end + ending.size();
  }
  const Columns columns(lines.front(), name);
  lines.erase(lines.begin());
  ForeignTable table{.format = ExchangeFormat::aiter, .name = name};
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].size() != columns.names().size())
      fail_data(fmt::format("{}:{}: {} columns, expected {}", name, i + 2, lines[i].size(),
                            columns.names().size()));
    table.rows.push_back(
        {.key = key_of(columns, lines[i]),
         .fields = Json(lines[i]).dump(-1, ' ', false, Json::error_handler_t::replace),
         .kind = foreign_kind(columns, lines[i]),
         .flags = flags_of(columns, lines[i], i + 2)});
  }
  flag_twins(table, columns, lines);
  table.header = Json{{"columns", columns.names()}, {"crlf", crlf}, {"closed", closed}}.dump(
      -1, ' ', false, Json::error_handler_t::replace);
  return table;
}

std::string write_aiter(const ForeignTable& table) {
  const Json header = Json::parse(table.header);
  const std::string ending = header.at("crlf").get<bool>() ? "\r\n" : "\n";
  std::string text = fmt::format("{}", fmt::join(header.at("columns").get<Cells>(), ","));
  for (const ForeignRow& row : table.rows)
    text += ending + fmt::format("{}", fmt::join(Json::parse(row.fields).get<Cells>(), ","));
  return header.at("closed").get<bool>() ? text + ending : text;
}

}  // namespace fse
