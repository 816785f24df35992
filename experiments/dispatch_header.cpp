#include "experiments/dispatch_header.h"

#include <fmt/format.h>

#include <set>

#include "core/error.h"
#include "core/version.h"

namespace fse {
namespace {

constexpr const char* kTypes = R"(#pragma once
#include <cstddef>
#include <string_view>

namespace fselab_dispatch {

// From `begin` tokens per expert up to the next row's. routing: "any", or the regime it holds for.
struct Row {
  std::string_view routing;
  double begin;
  std::string_view variant;
};
// A step's kernel and tile inside row `row`; it cannot run at more than `up_to` tokens.
struct Tile {
  std::size_t row;
  std::string_view step;
  double begin;
  int up_to;
  std::string_view kernel, tile;
};
inline constexpr std::size_t kNone = static_cast<std::size_t>(-1);

template <std::size_t N>
constexpr std::size_t find_row(const Row (&rows)[N], double per_expert, std::string_view routing) {
  std::size_t found = kNone;
  for (std::size_t i = 0; i < N; ++i) {
    if (rows[i].routing != "any" && rows[i].routing != routing) continue;
    if (found == kNone || rows[i].begin <= per_expert) found = i;
  }
  return found;
}
template <std::size_t N>
constexpr const Tile* find_tile(const Tile (&tiles)[N], std::size_t row, double per_expert,
                                std::string_view step) {
  const Tile* found = nullptr;
  for (const Tile& tile : tiles) {
    if (tile.row != row || tile.step != step) continue;
    if (found == nullptr || tile.begin <= per_expert) found = &tile;
  }
  return found;
}

)";

constexpr const char* kFunctions = R"(
// The row's index; kNone where nothing was measured.
constexpr std::size_t row_for(int tokens, std::string_view routing = "uniform") {
  if (tokens < kMinTokens || tokens > kMaxTokens) return kNone;
  return find_row(kRows, tokens * kExpertsPerToken, routing);
}
// nullptr where nothing was measured that runs there, or the variant has no such step.
constexpr const Tile* tile_for(int tokens, std::string_view step,
                               std::string_view routing = "uniform") {
  const Tile* found =
      find_tile(kTiles, row_for(tokens, routing), tokens * kExpertsPerToken, step);
  return found != nullptr && tokens <= found->up_to ? found : nullptr;
}

)";

// Anything as a C++ string literal of plain ASCII.
std::string literal(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\' || c == '?')
      out += fmt::format("\\{}", c);
    else if (byte < 32 || byte > 126)
      out += fmt::format("\\{:03o}", byte);
    else
      out += c;
  }
  return out + "\"";
}

// In a comment nothing may end the line.
std::string comment(const std::string& text) {
  std::string out;
  for (const char c : text) out += c >= 32 && c < 127 && c != '\\' ? c : '?';
  return out;
}

std::string identifier(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain || (!out.empty() && out.back() != '_')) out += plain ? c : '_';
  }
  while (!out.empty() && out.back() == '_') out.pop_back();
  const bool digit = !out.empty() && out[0] >= '0' && out[0] <= '9';
  return out.empty() ? "layer" : (digit ? "m" : "") + out;
}

std::string namespace_of(const Dispatched& d) {
  const Case& c = d.layers.spec();
  const bool fp8 = c.layer.activations == Activations::fp8;
  return identifier(
      fmt::format("{}_{}{}_tp{}", c.layer.model, to_name(c.layer.dtype), fp8 ? "_fp8" : "", c.tp));
}

std::string tile_lines(const StepDispatch& step, size_t row) {
  std::string lines;
  for (const DispatchRow& r : step.table.parts.front().rows) {
    const std::string& choice = step.tiles.choices[r.choice];
    const size_t space = choice.find(' ');
    lines += fmt::format("    {{{}, {}, {:.17g}, {}, {}, {}}},\n", row, literal(step.step), r.begin,
                         r.up_to, literal(choice.substr(0, space)),
                         literal(space == std::string::npos ? "" : choice.substr(space + 1)));
  }
  return lines;
}

std::string layer_text(const Store& store, const Dispatched& d) {
  std::string rows, tiles;
  size_t index = 0;
  for (const DispatchPart& part : d.table.parts)
    for (size_t r = 0; r < part.rows.size(); ++r) {
      const DispatchRow& row = part.rows[r];
      rows += fmt::format("    {{{}, {:.17g}, {}}},\n",
                          literal(part.routing.empty() ? "any" : part.routing), row.begin,
                          literal(d.layers.variants.choices[row.choice]));
      StepQuery asked = query_of(d, part, r);
      asked.by_routing = false;  // tiles have no regime of their own here
      for (const StepDispatch& step : dispatch_steps(store, d.layers, asked))
        tiles += tile_lines(step, index);
      ++index;
    }
  const std::string name = namespace_of(d);
  return fmt::format(
      "// {}\n// {}\nnamespace {} {{\n\n"
      "// What measured it: where yours are others, the table is stale.\n"
      "inline constexpr std::string_view kRevision = {}, kCompilers =\n    {};\n"
      "inline constexpr double kExpertsPerToken = {:.17g};\n"
      "inline constexpr int kMinTokens = {}, kMaxTokens = {};\n"
      "inline constexpr Row kRows[] = {{\n{}}};\ninline constexpr Tile kTiles[] = {{\n{}}};\n{}"
      "}}  // namespace {}\n\n",
      comment(dispatch_title(d)), comment(dispatch_summary(d)), name,
      literal(d.environment.git_revision), literal(d.environment.compiler),
      d.layers.variants.experts_per_token, d.table.min_tokens, d.table.max_tokens, rows, tiles,
      kFunctions, name);
}

}  // namespace

std::string dispatch_header(const Store& store, const std::vector<Dispatched>& all) {
  std::set<std::string> names;
  std::string text = fmt::format(
      "// What to run by tokens per expert, as measured: written by fselab {}, not by hand.\n{}",
      version(), kTypes);
  for (const Dispatched& d : all) {
    if (!names.insert(namespace_of(d)).second)
      fail_usage(
          fmt::format("two of the selected layers are called {}, expected conditions that "
                      "hold for one (cache=, environment=, ...): {}",
                      namespace_of(d), dispatch_title(d)));
    text += layer_text(store, d);
  }
  return text + "}  // namespace fselab_dispatch\n";
}

}  // namespace fse
