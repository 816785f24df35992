#include "experiments/verify_certificate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "core/error.h"
#include "core/read_file.h"
#include "core/strict_json.h"
#include "experiments/certificate.h"
#include "experiments/freshness.h"
#include "experiments/interrupt.h"
#include "experiments/worker_command.h"
#include "experiments/workload_group.h"
#include "reports/grid.h"
#include "tuner/measure.h"

namespace fse {
namespace {

// A layer in the race.
struct Entrant {
  std::string what;  // "winner", "incumbent", "default tiles", ...
  Variant variant;
  const CertifiedClaim* claim = nullptr;
  std::vector<Choice> choices;
  std::unique_ptr<LayerRunner> layer;
  std::string trouble;  // why it is not in the race
  bool wrong = false;
};

std::string certificate_text(const std::string& file) {
  if (!std::filesystem::is_regular_file(file))
    fail_usage(fmt::format("{}: no such file, expected a certificate", file));
  return read_file(file).value_or("");
}

LayerPlan plan_of(const Certificate& c, const Variant& variant, const DeviceInfo& device) {
  return make_plan(c.spec.layer, measured_shard(c.spec.layer, c.spec.tp), variant, c.spec.tokens,
                   device);
}

// The certificate's kernels and tiles, or why they cannot run here.
std::string find_choices(const std::vector<CertifiedStep>& steps, const LayerPlan& plan,
                         const DeviceInfo& device, std::vector<Choice>& choices) {
  if (steps.size() != plan.steps.size())
    return fmt::format("it has {} steps, the layer here {}", steps.size(), plan.steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    const std::string name = printable(steps[i].step + " " + steps[i].kernel);
    const KernelDef* kernel = find_kernel(steps[i].kernel);
    const auto here = kernels_for(plan.steps[i].op, device.kind);
    if (std::find(here.begin(), here.end(), kernel) == here.end())
      return fmt::format("{}: this fselab has no such kernel for {}", name,
                         to_name(plan.steps[i].op));
    Choice choice{kernel, tile_from_text(steps[i].tile)};
    const std::vector<Tile> all = tiles(*kernel, plan, plan.steps[i], device);
    const bool there = std::find(all.begin(), all.end(), choice.tile) != all.end();
    if (!there)
      return fmt::format("{}: '{}' is not one of its tiles here", name, printable(steps[i].tile));
    choices.push_back(std::move(choice));
  }
  return {};
}

Entrant entrant_of(const Certificate& c, const std::string& what, const Variant& variant,
                   const std::vector<CertifiedStep>* steps, const DeviceInfo& device) {
  Entrant e{.what = what, .variant = variant};
  const std::vector<std::string> illegal = check(c.spec.layer, variant, device);
  if (!illegal.empty()) {
    e.trouble = illegal.front();
    return e;
  }
  const LayerPlan plan = plan_of(c, variant, device);
  e.trouble = missing_kernel(plan, device);
  if (!e.trouble.empty()) return e;
  if (steps == nullptr)
    e.choices = default_choices(plan, device);
  else
    e.trouble = find_choices(*steps, plan, device, e.choices);
  return e;
}

// The winner with the vendor's library wherever it lost a step to fselab's own kernels.
std::vector<CertifiedStep> library_steps(const Certificate& c) {
  std::vector<CertifiedStep> steps = c.steps;
  for (CertifiedStep& s : steps)
    if (s.rival && s.rival_tile && is_library(*s.rival)) {
      s.kernel = *s.rival;
      s.tile = *s.rival_tile;
    }
  return steps;
}

std::vector<Entrant> entrants_of(const Certificate& c, const DeviceInfo& device) {
  std::vector<Entrant> all;
  all.push_back(entrant_of(c, "winner", c.spec.variant, &c.steps, device));
  for (const CertifiedClaim& claim : c.claims) {
    all.push_back(entrant_of(c, printable(claim.against), claim.variant, &claim.steps, device));
    all.back().claim = &claim;
  }
  const std::vector<CertifiedStep> with_library = library_steps(c);
  Entrant library = entrant_of(c, "vendor's library", c.spec.variant, &with_library, device);
  if (library.choices != all.front().choices) all.push_back(std::move(library));
  Entrant plain = entrant_of(c, "default tiles", c.spec.variant, nullptr, device);
  if (plain.choices != all.front().choices) all.push_back(std::move(plain));
  return all;
}

void open_and_verify(Workbench& bench, Entrant& e) {
  if (!e.trouble.empty()) return;
  try {
    e.layer = bench.open(e.variant);
    const LayerCheck check = e.layer->verify(e.choices);
    e.wrong = !check.ok();
    if (e.wrong) e.trouble = "wrong: " + check.reason();
  } catch (const AttemptError& error) {
    e.trouble = fmt::format("{}: {}", to_name(error.status), error.what());
  }
}

struct Race {
  std::vector<std::vector<double>> us;  // [entrant]; empty where it was not in it
  std::vector<double> control_us;       // the winner once more
};

Race race(std::vector<Entrant>& all, const Certificate& c, int rounds) {
  std::vector<Contestant> contestants;
  std::vector<size_t> who;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].trouble.empty()) continue;
    contestants.push_back({all[i].layer.get(), all[i].choices});
    who.push_back(i);
  }
  contestants.push_back(contestants.front());  // the winner: the A/A control
  const MeasureSpec spec{.cache = c.spec.cache, .min_rounds = rounds};
  const auto measured = measure_layers(contestants, spec, c.spec.seed + 1, interrupted);
  Race found{.us = std::vector<std::vector<double>>(all.size())};
  for (size_t i = 0; i < who.size(); ++i) {
    if (measured[i].failure)
      all[who[i]].trouble = measured[i].failure->reason;
    else
      found.us[who[i]] = measured[i].layer_us;
  }
  if (!measured.back().failure) found.control_us = measured.back().layer_us;
  return found;
}

std::string ratio_text(const Summary& ratio) {
  if (!std::isfinite(ratio.median)) return "-";
  return std::isfinite(ratio.lo)
             ? fmt::format("{:.4f} [{:.4f}, {:.4f}]", ratio.median, ratio.lo, ratio.hi)
             : fmt::format("{:.4f}", ratio.median);
}

Grid table_of(const Certificate& c, const std::vector<Entrant>& all, const Race& race,
              const std::vector<Comparison>& now) {
  Grid grid{.columns = {"what", "variant", "recorded_us", "now_us", "claimed_ratio", "claimed",
                        "ratio_now", "verdict_now", "note"},
            .rows = {}};
  for (size_t i = 0; i < all.size(); ++i) {
    const CertifiedClaim* claim = all[i].claim;
    const double recorded = i == 0 ? c.time_us.median : claim ? claim->time_us.median : NAN;
    grid.rows.push_back(
        {all[i].what, to_label(all[i].variant), cell(recorded),
         cell(race.us.empty() ? NAN : summarize(race.us[i]).median),
         claim ? ratio_text(claim->ratio) : "-", claim ? to_name(claim->verdict) : "-",
         i == 0 || now.empty() ? "-" : ratio_text(now[i].ratio),
         i == 0 || now.empty() ? "-" : to_name(now[i].verdict), printable(all[i].trouble)});
  }
  return grid;
}

int end(const CertificateVerdict& verdict) {
  fmt::print("{}: {}\n", to_name(verdict.answer), printable(verdict.why));
  switch (verdict.answer) {
    case CertificateAnswer::confirmed:
      return 0;
    case CertificateAnswer::refuted:
      return 1;
    default:
      return static_cast<int>(ErrorKind::incomplete);
  }
}

// Numbers that a certificate may hold and no measurement did: whoever writes one can also write its
// hash.
void require_possible(const Certificate& c, const std::string& file) {
  const auto refuse = [&](const char* field, auto value, const char* expected) {
    fail_data(fmt::format("{}: {} is {}, expected {}", file, field, value, expected));
  };
  if (c.spec.tokens < 1 || c.spec.tokens > 1 << 24) refuse("tokens", c.spec.tokens, "1 to 2^24");
  if (c.spec.tp < 1) refuse("tp", c.spec.tp, "1 or more");
  if (c.weight_sets < 1 || c.weight_sets > 4096) refuse("weight_sets", c.weight_sets, "1 to 4096");
  if (c.claims.size() > 16) refuse("claims", c.claims.size(), "16 at most");
  if (c.spec.routing.kind == RoutingKind::trace &&
      !std::filesystem::is_regular_file(c.spec.routing.trace))
    fail_usage(fmt::format("{}: its routing is the trace '{}', which is not here", file,
                           printable(c.spec.routing.trace.string())));
}

std::string too_large(const Certificate& c, const std::vector<Entrant>& all,
                      const DeviceInfo& device) {
  std::vector<LayerPlan> plans;
  for (const Entrant& e : all)
    if (e.trouble.empty()) plans.push_back(plan_of(c, e.variant, device));
  return plans.empty() ? "" : out_of_memory(plans, device, c.weight_sets);
}

// Races what can run and judges the claims.
CertificateVerdict measure_and_judge(Workbench& bench, const Certificate& c,
                                     std::vector<Entrant>& all) {
  const Entrant& winner = all.front();
  if (!winner.trouble.empty()) return {.why = "the winner cannot run here: " + winner.trouble};
  if (const std::string why = too_large(c, all, bench.device()); !why.empty()) return {.why = why};
  const int rounds = static_cast<int>(std::clamp<int64_t>(c.time_us.n, 25, 1000));
  bench.set_workload({.spec = c.spec, .sets = c.weight_sets, .rounds = rounds});
  for (Entrant& e : all) open_and_verify(bench, e);
  if (winner.wrong)
    return {.answer = CertificateAnswer::refuted,
            .why = "the winner's result is " + winner.trouble};
  if (!winner.trouble.empty()) return {.why = "the winner did not run: " + winner.trouble};
  const Race found = race(all, c, rounds);
  std::vector<Comparison> now(all.size());
  std::vector<CheckedClaim> checked;
  for (size_t i = 1; i < all.size(); ++i) {
    now[i] = compare_paired(found.us[0], found.us[i]);
    if (all[i].claim) checked.push_back({all[i].what, all[i].claim->verdict, now[i].verdict});
  }
  fmt::print("{}", to_table(table_of(c, all, found, now)));
  const Comparison control = compare_paired(found.control_us, found.us[0]);
  fmt::print("A/A floor: {} now, {} recorded (a layer against itself in the same rounds)\n",
             ratio_text(control.ratio), c.aa_floor ? ratio_text(*c.aa_floor) : "-");
  return judge_claims(checked, control.verdict);
}

}  // namespace

CertificateVerdict judge_claims(std::span<const CheckedClaim> claims, Verdict control) {
  if (is_difference(control))
    return {.why = fmt::format("right, but the winner is {} than itself in the same rounds",
                               to_name(control))};
  const auto decided = [](Verdict v) { return is_difference(v) || v == Verdict::same; };
  int claimed = 0, again = 0;
  std::string open;
  for (const CheckedClaim& c : claims) {
    if (!decided(c.claimed)) continue;
    ++claimed;
    if (c.now == c.claimed)
      ++again;
    else if (decided(c.now))
      return {CertificateAnswer::refuted,
              fmt::format("against the {} it claims {}, and is {}", c.against, to_name(c.claimed),
                          to_name(c.now))};
    else
      open = fmt::format("against the {} it claims {}, which this measurement leaves {}", c.against,
                         to_name(c.claimed), to_name(c.now));
  }
  if (claimed == 0) return {CertificateAnswer::undecided, "right, but it claims no difference"};
  if (again == claimed)
    return {CertificateAnswer::confirmed,
            fmt::format("right, and {} of {} claims hold again", again, claimed)};
  return {CertificateAnswer::undecided, open};
}

int verify_certificate(const CertificateOptions& options) {
  const Certificate c = read_certificate(certificate_text(options.file), options.file);
  require_possible(c, options.file);
  const auto bench =
      open_device_in_worker(options.device == "auto" ? c.device.name : options.device, Deadlines{});
  Environment then{.device = c.device, .compiler = c.compiler, .git_revision = c.git_revision};
  const Freshness fresh = freshness_of(then, bench->device(), bench->kernel_toolchain());
  fmt::print("{}: {} {} tp={} tokens={} {} {}, {}\n", options.file, printable(c.spec.layer.model),
             to_name(c.spec.layer.dtype), c.spec.tp, c.spec.tokens,
             printable(to_text(c.spec.routing)), to_name(c.spec.cache), to_label(c.spec.variant));
  if (!fresh.changed.empty()) fmt::print("note: stale: {}\n", printable(fresh.changed));
  if (!fresh.elsewhere.empty()) fmt::print("note: {}\n", printable(fresh.elsewhere));
  catch_interrupts();
  std::vector<Entrant> all = entrants_of(c, bench->device());
  CertificateVerdict verdict;
  try {
    verdict = measure_and_judge(*bench, c, all);
  } catch (const AttemptError& error) {
    verdict.why = fmt::format("{}: {}", to_name(error.status), error.what());
  }
  // Another device may well answer otherwise without anybody having been wrong.
  if (!fresh.elsewhere.empty())
    verdict = {
        .why = fmt::format("another device; here: {}: {}", to_name(verdict.answer), verdict.why)};
  return end(verdict);
}

}  // namespace fse
