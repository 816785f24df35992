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
               const TokenRange& tokens, const StepDispatch& step) {
  DispatchTable reach = step.table;  // up to the ends of the variant's row
  reach.min_tokens = tokens.from;
  reach.max_tokens = tokens.to;
  for (const DispatchPart& sub : step.table.parts)
    for (size_t r = 0; r < sub.rows.size(); ++r) {
      const auto [from, to] = tokens_of(reach, sub.rows, r, step.tiles.experts_per_token);
      const auto [kernel, tile] = kernel_and_tile(step.tiles.choices[sub.rows[r].choice]);
      grid.rows.push_back({regime(sub.routing.empty() ? part.routing : sub.routing), int64_t{from},
                           int64_t{std::min(to, sub.rows[r].up_to)}, variant, step.step, kernel,
                           tile, percent(sub.rows[r].regret), percent(step.table.held_out)});
    }
}

// The default of every step of a variant.
std::vector<std::pair<std::string, Choice>> defaults_of(const Dispatched& d, const Variant& variant,
                                                        int tokens) {
  const Case& c = d.layers.spec();
  const LayerPlan plan =
      make_plan(c.layer, measured_shard(c.layer, c.tp), variant, tokens, d.environment.device);
  const std::vector<Choice> choices = default_choices(plan, d.environment.device);
  std::vector<std::pair<std::string, Choice>> steps;
  for (size_t i = 0; i < choices.size(); ++i) steps.emplace_back(plan.steps[i].name, choices[i]);
  return steps;
}

std::vector<Cell> default_row(const std::pair<std::string, Choice>& step) {
  return {step.first, step.second.kernel->name, to_text(step.second.tile),
          to_name(DispatchClass::fallback)};
}

const Variant& variant_of(const Dispatched& d, const std::string& label) {
  for (const DispatchLayer& l : d.layers.layers)
    if (to_label(l.spec.variant) == label) return l.spec.variant;
  throw Error(ErrorKind::data, fmt::format("no layer of variant {}", label));
}

// A step's tile as the table has it, or its default where that cannot run here.
std::vector<Cell> step_row(const Dispatched& d, const StepDispatch& step, const Variant& variant,
                           int tokens, const std::string& routing) {
  DispatchTable reach = step.table;  // up to the ends of the variant's row
  reach.min_tokens = std::min(reach.min_tokens, tokens);
  reach.max_tokens = std::max(reach.max_tokens, tokens);
  const DispatchAnswer answer = look_up(step.tiles, reach, tokens, routing, "");
  if (answer.choice) {
    const auto [kernel, tile] = kernel_and_tile(step.tiles.choices[*answer.choice]);
    return {step.step, kernel, tile, to_name(answer.trust)};
  }
  for (const auto& known : defaults_of(d, variant, tokens))
    if (known.first == step.step) return default_row(known);
  return {step.step, Cell{}, Cell{}, to_name(answer.trust)};
}

Grid tuned_steps(const Store& store, const Dispatched& d, int tokens, const std::string& routing) {
  Grid grid{.columns = {"step", "kernel", "tile", "class"}, .rows = {}};
  const double per_expert = tokens * d.layers.variants.experts_per_token;
  for (const DispatchPart& part : d.table.parts) {
    if (!part.routing.empty() && part.routing != routing) continue;
    size_t at = 0;
    for (size_t r = 1; r < part.rows.size(); ++r)
      if (part.rows[r].begin <= per_expert) at = r;
    const Variant& variant = variant_of(d, d.layers.variants.choices[part.rows[at].choice]);
    for (const StepDispatch& step : dispatch_steps(store, d.layers, query_of(d, part, at)))
      grid.rows.push_back(step_row(d, step, variant, tokens, routing));
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
  const double floor = aa_floor(d.layers);
  const std::string noise = std::isnan(floor)
                                ? ""
                                : fmt::format(
                                      ". Layers against themselves differ by up to {:.2f} %: a "
                                      "regret below that says nothing",
                                      100 * floor);
  return fmt::format(
      "{} row{}, worst regret {:.2f} % at the measured token counts, {}; {} the "
      "{:g} % that was asked for{}",
      d.table.rows(), d.table.rows() == 1 ? "" : "s", 100 * d.table.sampled, held_out,
      d.table.reached ? "within" : "NOT within", 100 * d.most, noise);
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

StepQuery query_of(const Dispatched& d, const DispatchPart& part, size_t row) {
  return {.routing = part.routing,
          .row = part.rows[row],
          .most_tokens = tokens_of(d.table, part.rows, row, d.layers.variants.experts_per_token).to,
          .most_regret = d.most};
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
    for (size_t r = 0; r < part.rows.size(); ++r) {
      const StepQuery asked = query_of(d, part, r);
      for (const StepDispatch& step : dispatch_steps(store, d.layers, asked))
        add_tiles(grid, part, d.layers.variants.choices[asked.row.choice],
                  tokens_of(d.table, part.rows, r, d.layers.variants.experts_per_token), step);
    }
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
  const Variant variant = default_variant(d.layers.spec().layer);
  Grid grid{.columns = {"step", "kernel", "tile", "class"}, .rows = {}};
  for (const auto& step : defaults_of(d, variant, tokens)) grid.rows.push_back(default_row(step));
  return {answer, to_label(variant), grid};
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
