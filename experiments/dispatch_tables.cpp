#include "experiments/dispatch_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/catalog.h"

namespace fse {
namespace {

Cell percent(double share) {
  return std::isfinite(share) ? Cell{std::round(share * 1e4) / 1e2} : Cell{};
}

std::string regime(const std::string& routing) {
  return routing.empty() ? "any" : routing;
}

// "hip.combine dependent=1 threads=64" is a kernel and a tile.
std::pair<std::string, std::string> kernel_and_tile(const std::string& choice) {
  const size_t space = choice.find(' ');
  if (space == std::string::npos) return {choice, ""};
  return {choice.substr(0, space), choice.substr(space + 1)};
}

// What runs where nothing is known: the plainest variant.
Variant default_variant(const LayerSpec& layer) {
  Variant variant;
  if (!layer.has_shared()) variant.shared = Shared::none;
  return variant;
}

void add_tiles(Grid& grid, const DispatchPart& part, const std::string& variant,
               const StepDispatch& step, double most) {
  const DispatchTable tiles = build_dispatch(step.tiles, most);
  for (const DispatchPart& sub : tiles.parts)
    for (size_t r = 0; r < sub.rows.size(); ++r) {
      const auto [from, to] = tokens_of(tiles, sub.rows, r, step.tiles.experts_per_token);
      const auto [kernel, tile] = kernel_and_tile(step.tiles.choices[sub.rows[r].choice]);
      grid.rows.push_back({regime(sub.routing.empty() ? part.routing : sub.routing), int64_t{from},
                           int64_t{to}, variant, step.step, kernel, tile,
                           percent(sub.rows[r].regret), percent(tiles.held_out)});
    }
}

Grid default_steps(const Dispatched& d, int tokens) {
  const LayerSpec& layer = d.layers.spec().layer;
  const LayerPlan plan = make_plan(layer, measured_shard(layer, d.layers.spec().tp),
                                   default_variant(layer), tokens, d.environment.device);
  const std::vector<Choice> choices = default_choices(plan, d.environment.device);
  Grid grid{.columns = {"step", "kernel", "tile", "class"}, .rows = {}};
  for (size_t i = 0; i < choices.size(); ++i)
    grid.rows.push_back({plan.steps[i].name, choices[i].kernel->name, to_text(choices[i].tile),
                         to_name(DispatchClass::fallback)});
  return grid;
}

Grid tuned_steps(const Store& store, const Dispatched& d, int tokens, const std::string& routing) {
  Grid grid{.columns = {"step", "kernel", "tile", "class"}, .rows = {}};
  const double per_expert = tokens * d.layers.variants.experts_per_token;
  for (const DispatchPart& part : d.table.parts) {
    if (!part.routing.empty() && part.routing != routing) continue;
    size_t at = 0;
    for (size_t r = 1; r < part.rows.size(); ++r)
      if (part.rows[r].begin <= per_expert) at = r;
    for (const StepDispatch& step : load_steps(store, d.layers, part.routing, part.rows[at])) {
      const DispatchTable tiles = build_dispatch(step.tiles, d.most);
      const int inside = std::clamp(tokens, tiles.min_tokens, tiles.max_tokens);
      const DispatchAnswer answer = look_up(step.tiles, tiles, inside, routing, "");
      const auto [kernel, tile] = kernel_and_tile(
          step.tiles.choices[answer.choice.value_or(tiles.parts.front().rows.front().choice)]);
      const bool exact = answer.trust == DispatchClass::exact && inside == tokens;
      grid.rows.push_back({step.step, kernel, tile,
                           to_name(exact ? DispatchClass::exact : DispatchClass::interpolated)});
    }
  }
  return grid;
}

}  // namespace

std::vector<Dispatched> dispatch_layers(const Store& store, const Filter& filter, double most) {
  std::vector<Dispatched> all;
  for (LayerDispatch& layers : load_layers(store, filter)) {
    DispatchTable table = build_dispatch(layers.variants, most);
    Environment environment = store.environment(layers.environment);
    all.push_back({std::move(layers), std::move(table), std::move(environment), most});
  }
  if (all.empty())
    fail_usage(
        fmt::format("{}: no layer that was measured and is right is selected, expected one "
                    "(fselab db coverage shows what is there)",
                    store.file()));
  return all;
}

std::string dispatch_title(const Dispatched& d) {
  const Case& c = d.layers.spec();
  return fmt::format(
      "{} {}{} tp={} {} on {} ({}), environment {}", c.layer.model, to_name(c.layer.dtype),
      c.layer.activations == Activations::fp8 ? " activations=fp8" : "", c.tp, to_name(c.cache),
      d.environment.device.name, d.environment.device.product, d.layers.environment);
}

std::string dispatch_summary(const Dispatched& d) {
  const std::string held_out =
      std::isnan(d.table.held_out)
          ? "none could be held out: that takes three token counts"
          : fmt::format("{:.2f} % at held-out token counts", 100 * d.table.held_out);
  return fmt::format(
      "{} row{}, worst regret {:.2f} % at the measured token counts, {}; {} the "
      "{:g} % that was asked for",
      d.table.rows(), d.table.rows() == 1 ? "" : "s", 100 * d.table.sampled, held_out,
      d.table.reached ? "within" : "NOT within", 100 * d.most);
}

TokenRange tokens_of(const DispatchTable& table, const std::vector<DispatchRow>& rows, size_t row,
                     double experts_per_token) {
  // The least token count whose tokens per expert reach a row's begin; what rounding adds to an
  // exact quotient is no token.
  const auto first = [&](size_t r) {
    return r == 0 ? table.min_tokens
                  : static_cast<int>(std::ceil(rows[r].begin / experts_per_token - 1e-9));
  };
  return {first(row), row + 1 == rows.size() ? table.max_tokens : first(row + 1) - 1};
}

Grid row_grid(const Dispatched& d) {
  Grid grid{.columns = {"routing", "tokens_from", "tokens_to", "tokens_per_expert_from", "variant",
                        "regret_percent", "crossover"},
            .rows = {}};
  const DispatchSamples& samples = d.layers.variants;
  for (const DispatchPart& part : d.table.parts)
    for (size_t r = 0; r < part.rows.size(); ++r) {
      const DispatchRow& row = part.rows[r];
      const auto [from, to] = tokens_of(d.table, part.rows, r, samples.experts_per_token);
      const std::string crossover =
          r == 0 ? "-"
                 : fmt::format("{} {} and {}", row.crossover ? "measured between" : "halfway of",
                               part.rows[r - 1].last_tokens, row.first_tokens);
      grid.rows.push_back({regime(part.routing), int64_t{from}, int64_t{to}, row.begin,
                           samples.choices[row.choice], percent(row.regret), crossover});
    }
  return grid;
}

Grid cost_grid(const Dispatched& d) {
  Grid grid{.columns = {"routing", "rows", "sampled_percent", "held_out_percent", "worst_tokens",
                        "chosen"},
            .rows = {}};
  for (const DispatchCost& cost : d.table.costs) {
    const bool chosen =
        std::any_of(d.table.parts.begin(), d.table.parts.end(), [&](const DispatchPart& part) {
          return part.routing == cost.routing && part.rows.size() == cost.rows;
        });
    grid.rows.push_back({regime(cost.routing), static_cast<int64_t>(cost.rows),
                         percent(cost.sampled), percent(cost.held_out),
                         cost.worst_tokens == 0 ? Cell{} : Cell{int64_t{cost.worst_tokens}},
                         std::string(chosen ? "yes" : "")});
  }
  return grid;
}

Grid tile_grid(const Store& store, const Dispatched& d) {
  Grid grid{.columns = {"routing", "tokens_from", "tokens_to", "variant", "step", "kernel", "tile",
                        "regret_percent", "held_out_percent"},
            .rows = {}};
  for (const DispatchPart& part : d.table.parts)
    for (const DispatchRow& row : part.rows)
      for (const StepDispatch& step : load_steps(store, d.layers, part.routing, row))
        add_tiles(grid, part, d.layers.variants.choices[row.choice], step, d.most);
  return grid;
}

Looked look_up_layer(const Store& store, const Dispatched& d, int tokens,
                     const std::string& routing, const Freshness& fresh) {
  DispatchAnswer answer = look_up(d.layers.variants, d.table, tokens, routing, fresh.changed);
  if (!fresh.elsewhere.empty())
    answer = {.trust = DispatchClass::fallback, .why = fresh.elsewhere, .choice = {}};
  if (!fresh.unchecked.empty()) answer.why += "; " + fresh.unchecked;
  const bool known =
      answer.trust == DispatchClass::exact || answer.trust == DispatchClass::interpolated;
  if (known)
    return {answer, d.layers.variants.choices[*answer.choice],
            tuned_steps(store, d, tokens, routing)};
  return {answer, to_label(default_variant(d.layers.spec().layer)), default_steps(d, tokens)};
}

Grid with_layer(const Dispatched& d, Grid grid) {
  const Case& c = d.layers.spec();
  const std::vector<std::pair<const char*, Cell>> layer = {
      {"model", c.layer.model},
      {"dtype", to_name(c.layer.dtype)},
      {"activations", to_name(c.layer.activations)},
      {"tp", int64_t{c.tp}},
      {"cache", to_name(c.cache)},
      {"device", d.environment.device.name},
      {"product", d.environment.device.product},
      {"environment", d.layers.environment}};
  for (size_t i = layer.size(); i > 0; --i) {
    grid.columns.insert(grid.columns.begin(), layer[i - 1].first);
    for (auto& row : grid.rows) row.insert(row.begin(), layer[i - 1].second);
  }
  return grid;
}

}  // namespace fse
