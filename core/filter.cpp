#include "core/filter.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstdlib>
#include <string_view>

#include "core/error.h"
#include "core/nearest.h"
#include "core/strict_json.h"

namespace fse {

namespace {

struct Column {
  std::string_view name, sql;
  bool number;
};

constexpr Column kColumns[] = {
    {"study", "s.name", false},
    {"model", "c.model", false},
    {"dtype", "c.dtype", false},
    {"activations", "c.activations", false},
    {"tokens", "c.tokens", true},
    {"tp", "c.tp", true},
    {"routing", "c.routing", false},
    {"cache", "c.cache", false},
    {"seed", "c.seed", true},
    {"variant", "c.variant", false},
    {"variant.gate", "c.variant_gate", false},
    {"variant.topk", "c.variant_topk", false},
    {"variant.shared", "c.variant_shared", false},
    {"variant.experts", "c.variant_experts", false},
    {"variant.launch", "c.variant_launch", false},
    {"state", "c.state", false},
    {"device", "e.device", false},
    {"arch", "e.arch", false},
    {"product", "e.product", false},
    {"git_revision", "e.git_revision", false},
    {"environment", "e.id", true},
    {"attempt", "a.id", true},
    {"level", "a.level", false},
    {"kernel", "a.kernel", false},
    {"step_key", "a.step_key", false},
    {"status", "a.status", false},
    {"verified", "a.verified", true},
    {"reason", "a.reason", false},
    {"time_us", "a.median_us", true},
    {"n", "a.n", true},
    {"started", "a.started", false},
};

const Column& column_of(const std::string& name, const std::string& condition) {
  for (const Column& c : kColumns)
    if (c.name == name || c.name == "variant." + name) return c;
  const std::vector<std::string> names = filter_columns();
  fail_usage(fmt::format("filter '{}': no column '{}', expected one of {}{}", printable(condition),
                         printable(name), fmt::join(names, ", "), did_you_mean(name, names)));
}

double number_of(const std::string& text, const std::string& condition) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !std::isfinite(value))
    fail_usage(
        fmt::format("filter '{}': '{}' is not a number", printable(condition), printable(text)));
  return value;
}

struct Condition {
  std::string name, op, value;
};

Condition split(const std::string& text) {
  const size_t at = text.find_first_of("=!<>~");
  if (at != std::string::npos && at > 0)
    for (const std::string op : {"!=", ">=", "<=", "=", ">", "<", "~"})
      if (text.compare(at, op.size(), op) == 0)
        return {text.substr(0, at), op, text.substr(at + op.size())};
  fail_usage(
      fmt::format("filter '{}': expected COLUMN=VALUE, or one of != < <= > >= ~ instead of =",
                  printable(text)));
}

std::vector<std::string> alternatives(const Condition& c) {
  std::vector<std::string> all(1);
  for (const char ch : c.value) {
    if (ch == ',' && (c.op == "=" || c.op == "!="))
      all.emplace_back();
    else
      all.back() += ch;
  }
  return all;
}

// One comparison; its parameters are added to the filter's.
std::string comparison(const Column& column, const std::string& op, const std::string& value,
                       const std::string& condition, Filter& filter) {
  if (column.number && op != "~") {
    filter.parameters.emplace_back(number_of(value, condition));
    return fmt::format("{} {} ?", column.sql, op == "!=" ? "=" : op);
  }
  filter.parameters.emplace_back(value);
  if (op == "~") return fmt::format("instr({}, ?) > 0", column.sql);
  if (op != "=" && op != "!=") return fmt::format("{} {} ?", column.sql, op);
  filter.parameters.emplace_back(value);
  filter.parameters.emplace_back(value);
  return fmt::format("({0} = ? OR substr({0}, 1, length(?) + 1) = ? || '-')", column.sql);
}

}  // namespace

Filter parse_filter(const std::vector<std::string>& conditions) {
  Filter filter;
  for (const std::string& text : conditions) {
    const Condition c = split(text);
    const Column& column = column_of(c.name, text);
    filter.of_attempts |= column.sql.starts_with("a.");
    std::string any;
    for (const std::string& value : alternatives(c))
      any += (any.empty() ? "" : " OR ") + comparison(column, c.op, value, text, filter);
    filter.where += fmt::format(" AND {}({})", c.op == "!=" ? "NOT " : "", any);
  }
  return filter;
}

std::vector<std::string> filter_columns() {
  std::vector<std::string> names;
  for (const Column& c : kColumns) names.emplace_back(c.name);
  return names;
}

std::string filter_help() {
  return fmt::format(
      "Filters are conditions that must all hold: COLUMN=VALUE, or != < <= > >= ~ (contains).\n"
      "  model=qwen3-next tokens>=4 variant.shared=slot,mlp\n"
      "`=` on text takes a whole name or its beginning up to a '-'; a comma lists alternatives.\n"
      "Quote < and > for your shell. Columns: {}.\n",
      fmt::join(filter_columns(), ", "));
}

}  // namespace fse
