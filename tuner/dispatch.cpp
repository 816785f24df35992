#include "tuner/dispatch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"

namespace fse {
namespace {

// One token count: every choice's worst regret over the regimes at it.
struct Station {
  int tokens = 0;
  double per_expert = 0;
  std::vector<double> regret;
};

// The worst regret first, all of it where that is alike.
struct Cost {
  double worst = 0, sum = 0;
  auto operator<=>(const Cost&) const = default;
  Cost operator+(const Cost& o) const { return {std::max(worst, o.worst), sum + o.sum}; }
};

std::vector<Station> stations_of(const DispatchSamples& all, const std::string& routing) {
  std::map<int, Station> by_tokens;
  for (const DispatchSample& sample : all.samples) {
    if (!routing.empty() && sample.routing != routing) continue;
    Station& station = by_tokens[sample.tokens];
    station.tokens = sample.tokens;
    station.per_expert = sample.tokens * all.experts_per_token;
    station.regret.resize(all.choices.size(), 0);
    for (size_t c = 0; c < all.choices.size(); ++c)
      station.regret[c] = std::max(station.regret[c], sample.regret[c]);
  }
  std::vector<Station> stations;
  for (auto& [tokens, station] : by_tokens) stations.push_back(std::move(station));
  return stations;
}

// The best single choice for stations [begin, end), and what it costs.
std::pair<size_t, Cost> best_choice(const std::vector<Station>& stations, size_t begin,
                                    size_t end) {
  std::pair<size_t, Cost> best{0, {INFINITY, INFINITY}};
  for (size_t c = 0; c < stations[begin].regret.size(); ++c) {
    Cost cost;
    for (size_t s = begin; s < end; ++s)
      cost = cost + Cost{stations[s].regret[c], stations[s].regret[c]};
    if (cost < best.second) best = {c, cost};
  }
  return best;
}

// Where the regrets of two choices meet between two stations, straight in log(tokens per expert);
// halfway where they do not.
double meeting(const Station& a, const Station& b, size_t before, size_t after, bool& crossover) {
  const double at_a = a.regret[after] - a.regret[before];
  const double at_b = b.regret[after] - b.regret[before];
  crossover = std::isfinite(at_a) && std::isfinite(at_b) && at_a >= 0 && at_b <= 0 && at_a > at_b;
  const double share = crossover ? at_a / (at_a - at_b) : 0.5;
  return std::exp(std::log(a.per_expert) * (1 - share) + std::log(b.per_expert) * share);
}

// All tables of 1..most rows at once: cost[s] of the best one over the stations before s, and where
// its last row begins.
std::vector<std::vector<size_t>> best_begins(const std::vector<Station>& stations, size_t most) {
  const size_t n = stations.size();
  std::vector<std::vector<Cost>> single(n, std::vector<Cost>(n + 1));
  for (size_t b = 0; b < n; ++b)
    for (size_t e = b + 1; e <= n; ++e) single[b][e] = best_choice(stations, b, e).second;
  std::vector<Cost> cost(n + 1, {INFINITY, INFINITY});
  cost[0] = {};
  std::vector<std::vector<size_t>> begins;
  for (size_t rows = 1; rows <= most; ++rows) {
    std::vector<Cost> next(n + 1, {INFINITY, INFINITY});
    std::vector<size_t> begin(n + 1, 0);
    for (size_t e = rows; e <= n; ++e)
      for (size_t b = rows - 1; b < e; ++b)
        // However bad, a row has a station.
        if (const Cost total = cost[b] + single[b][e]; b == rows - 1 || total < next[e]) {
          next[e] = total;
          begin[e] = b;
        }
    begins.push_back(std::move(begin));
    cost = std::move(next);
  }
  return begins;
}

std::vector<DispatchRow> rows_of(const std::vector<Station>& stations,
                                 const std::vector<std::vector<size_t>>& begins, size_t rows) {
  std::vector<size_t> edges(rows + 1, stations.size());
  for (size_t r = rows; r > 0; --r) edges[r - 1] = begins[r - 1][edges[r]];
  std::vector<DispatchRow> table;
  for (size_t r = 0; r < rows; ++r) {
    const auto [choice, cost] = best_choice(stations, edges[r], edges[r + 1]);
    DispatchRow row{.begin = stations[edges[r]].per_expert,
                    .first_tokens = stations[edges[r]].tokens,
                    .last_tokens = stations[edges[r + 1] - 1].tokens,
                    .choice = choice,
                    .regret = cost.worst};
    if (r > 0)
      row.begin = meeting(stations[edges[r] - 1], stations[edges[r]], table.back().choice, choice,
                          row.crossover);
    table.push_back(row);
  }
  return table;
}

const DispatchRow& row_at(const std::vector<DispatchRow>& rows, double per_expert) {
  size_t found = 0;
  for (size_t r = 1; r < rows.size(); ++r)
    if (rows[r].begin <= per_expert) found = r;
  return rows[found];
}

// One regime's tables, of every number of rows that may pay.
struct Built {
  std::vector<std::vector<DispatchRow>> tables;
  std::vector<DispatchCost> costs;

  // The fewest rows that get there, else those with the least regret.
  size_t pick(double most) const {
    size_t best = 0;
    for (size_t i = 0; i < costs.size(); ++i) {
      if (judged(costs[i]).worst <= most) return i;
      if (judged(costs[i]) < judged(costs[best])) best = i;
    }
    return best;
  }
  static Cost judged(const DispatchCost& c) {
    return {std::isnan(c.held_out) ? c.sampled : std::max(c.sampled, c.held_out), c.sampled};
  }
};

// Leaves each station but the ends out and asks the table made from the others.
void hold_out(const std::vector<Station>& stations, std::vector<DispatchCost>& costs) {
  for (size_t left = 1; left + 1 < stations.size(); ++left) {
    std::vector<Station> others = stations;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(left));
    const auto begins = best_begins(others, std::min(costs.size(), others.size()));
    for (DispatchCost& cost : costs) {
      const auto rows = rows_of(others, begins, std::min(cost.rows, others.size()));
      const double regret = stations[left].regret[row_at(rows, stations[left].per_expert).choice];
      if (!std::isnan(cost.held_out) && regret <= cost.held_out) continue;
      cost.held_out = regret;
      cost.worst_tokens = stations[left].tokens;
    }
  }
}

Built build_part(const DispatchSamples& samples, const std::string& routing) {
  const std::vector<Station> stations = stations_of(samples, routing);
  const auto begins = best_begins(stations, stations.size());
  Built built;
  for (size_t rows = 1; rows <= stations.size(); ++rows) {
    built.tables.push_back(rows_of(stations, begins, rows));
    double worst = 0;
    for (const DispatchRow& row : built.tables.back()) worst = std::max(worst, row.regret);
    built.costs.push_back(
        {.routing = routing, .rows = rows, .sampled = worst, .held_out = NAN, .worst_tokens = 0});
    if (worst == 0) break;  // more rows would say the same
  }
  hold_out(stations, built.costs);
  return built;
}

void add_part(DispatchTable& table, const Built& built, double most) {
  const size_t at = built.pick(most);
  const DispatchCost& cost = built.costs[at];
  table.parts.push_back({.routing = cost.routing, .rows = built.tables[at]});
  table.sampled = std::max(table.sampled, cost.sampled);
  if (table.parts.size() == 1 || cost.held_out > table.held_out || std::isnan(cost.held_out))
    table.held_out = cost.held_out;
  table.reached = table.reached && cost.sampled <= most && cost.held_out <= most;
}

}  // namespace

size_t DispatchTable::rows() const {
  size_t all = 0;
  for (const DispatchPart& part : parts) all += part.rows.size();
  return all;
}

DispatchTable build_dispatch(const DispatchSamples& samples, double most, bool by_routing) {
  check(!samples.samples.empty(), "a dispatch table has samples");
  std::set<std::string> regimes;
  DispatchTable shared{.min_tokens = samples.samples.front().tokens, .reached = true};
  shared.max_tokens = shared.min_tokens;
  for (const DispatchSample& sample : samples.samples) {
    regimes.insert(sample.routing);
    shared.min_tokens = std::min(shared.min_tokens, sample.tokens);
    shared.max_tokens = std::max(shared.max_tokens, sample.tokens);
  }
  const bool several = by_routing && regimes.size() > 1;
  DispatchTable split = shared;
  const Built together = build_part(samples, "");
  add_part(shared, together, most);
  std::vector<DispatchCost> costs = together.costs;
  for (const std::string& regime : regimes) {
    if (!several) break;
    const Built alone = build_part(samples, regime);
    add_part(split, alone, most);
    costs.insert(costs.end(), alone.costs.begin(), alone.costs.end());
  }
  const bool fewer = split.reached && (!shared.reached || split.rows() < shared.rows());
  DispatchTable chosen = several && fewer ? split : shared;
  chosen.costs = std::move(costs);
  return chosen;
}

DispatchAnswer look_up(const DispatchSamples& samples, const DispatchTable& table, int tokens,
                       const std::string& routing, const std::string& changed) {
  if (tokens < table.min_tokens || tokens > table.max_tokens)
    return {.why = fmt::format("tokens={} is outside of what was measured, {} to {}", tokens,
                               table.min_tokens, table.max_tokens),
            .choice = {}};
  const auto part = std::find_if(
      table.parts.begin(), table.parts.end(),
      [&](const DispatchPart& p) { return p.routing.empty() || p.routing == routing; });
  if (part == table.parts.end())
    return {.why = fmt::format("routing {} was not measured, and the table differs by routing",
                               routing),
            .choice = {}};
  const DispatchRow& row = row_at(part->rows, tokens * samples.experts_per_token);
  if (tokens > row.up_to)
    return {.why = fmt::format("what was measured up to tokens={} cannot run at {}",
                               row.last_tokens, tokens),
            .choice = {}};
  DispatchAnswer answer{.choice = row.choice};
  int below = table.min_tokens, above = table.max_tokens;
  bool exact = false;
  for (const DispatchSample& s : samples.samples) {
    exact = exact || (s.tokens == tokens && s.routing == routing);
    if (s.tokens <= tokens) below = std::max(below, s.tokens);
    if (s.tokens >= tokens) above = std::min(above, s.tokens);
  }
  answer.trust = exact ? DispatchClass::exact : DispatchClass::interpolated;
  answer.why = exact ? fmt::format("measured at tokens={} {}", tokens, routing)
               : below == above
                   ? fmt::format("tokens={} was measured, but not with {}", tokens, routing)
                   : fmt::format("between tokens={} and {}", below, above);
  if (changed.empty()) return answer;
  return {.trust = DispatchClass::stale, .why = changed, .choice = answer.choice};
}

}  // namespace fse
