#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/model_import.h"
#include "core/trace.h"
#include "experiments/sweep.h"
#include "experiments/tile_restrictions.h"
#include "kernels/catalog.h"

namespace fse {
namespace {

constexpr size_t kMaxCases = 100000;

// A listed variant as this layer and device execute it.
Variant resolve(Variant v, const LayerSpec& layer) {
  if (!layer.has_shared()) v.shared = Shared::none;
  return v;
}

std::vector<Variant> listed_variants(const VariantAxes& axes, const LayerSpec& layer,
                                     const DeviceInfo& device) {
  const std::vector<Launch> launches = !axes.launch.empty() ? axes.launch
                                       : device.graph       ? std::vector{Launch::graph}
                                                            : std::vector{Launch::stream};
  std::vector<Variant> variants;
  for (const Gate gate : axes.gate)
    for (const Topk topk : axes.topk)
      for (const Shared shared : axes.shared)
        for (const Experts experts : axes.experts)
          for (const Launch launch : launches)
            variants.push_back(resolve({gate, topk, shared, experts, launch}, layer));
  return variants;
}

// What a variant is compared with: the baseline's values, its own where the baseline names none.
Variant baseline_of(Variant v, const BaselineSpec& base, const LayerSpec& layer) {
  v.gate = base.gate.value_or(v.gate);
  v.topk = base.topk.value_or(v.topk);
  v.shared = base.shared.value_or(v.shared);
  v.experts = base.experts.value_or(v.experts);
  v.launch = base.launch.value_or(v.launch);
  return resolve(v, layer);
}

// One layer, one shard: which variants run and which do not, the same for each of its workloads.
struct VariantRecord {
  Variant variant;
  bool baseline = false;
  std::vector<std::string> reasons;  // why it is refused
};

std::string without_prefix(const Refused& refused) {
  return std::string(refused.what()).substr(std::string_view("refused: ").size());
}

std::vector<VariantRecord> judge_variants(const SweepSpec& spec, const LayerSpec& layer, int tp,
                                          const DeviceInfo& device) {
  std::vector<std::string> shard_reason;
  try {
    make_shard(layer, tp, 0);
  } catch (const Refused& refused) {
    shard_reason.push_back(without_prefix(refused));
  }
  const auto judge = [&](const Variant& v) {
    VariantRecord record{.variant = v,
                         .baseline = v == baseline_of(v, spec.baseline, layer),
                         .reasons = check(layer, v, device)};
    record.reasons.insert(record.reasons.end(), shard_reason.begin(), shard_reason.end());
    return record;
  };
  std::vector<VariantRecord> records;
  for (const Variant& v : listed_variants(spec.variants, layer, device))
    records.push_back(judge(v));
  // A legal variant needs something to be compared with, listed or not; it goes first.
  std::vector<VariantRecord> baselines;
  for (const VariantRecord& record : records)
    if (record.reasons.empty())
      baselines.push_back(judge(baseline_of(record.variant, spec.baseline, layer)));
  records.insert(records.begin(), baselines.begin(), baselines.end());
  return records;
}

ModelConfig read_model(const ModelEntry& entry, const std::filesystem::path& configs_dir) {
  const bool is_path = !entry.path.empty();
  try {
    ModelConfig model = find_model(is_path ? entry.path.string() : entry.name, configs_dir);
    model.layer.model = entry.name;
    return model;
  } catch (const Refused&) {
    throw;  // its line begins "refused:"
  } catch (const Error& error) {
    throw Error(error.kind, fmt::format("{}: models: {}", entry.where, error.what()));
  }
}

// Why each of the sweep's distributions cannot be played to this layer. Every row of a trace is
// judged here: a bad one must not end a run that is hours old.
std::vector<std::vector<std::string>> routing_reasons(const LayerSpec& layer,
                                                      const std::vector<RoutingDistribution>& all) {
  std::vector<std::vector<std::string>> reasons(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].kind != RoutingKind::trace) continue;
    const std::string fault = trace_fault(layer.routing, all[i].trace);
    if (!fault.empty()) reasons[i].push_back("routing=trace: " + fault);
  }
  return reasons;
}

// Presets whose published fp8 checkpoint has other scales than a block of 128x128.
constexpr std::pair<std::string_view, std::string_view> kPublishedOtherwise[] = {
    {"glm-4.7", "the published checkpoint has one scale per channel"}};

class Expander {
 public:
  Expander(const SweepSpec& spec, const DeviceInfo& device) : spec_(spec), device_(device) {}

  // One model that is not implemented does not end the sweep.
  void add_model(const ModelEntry& entry, const std::filesystem::path& configs_dir) {
    ModelConfig model;
    try {
      model = read_model(entry, configs_dir);
    } catch (const Refused& refused) {
      add_refused_model(refused);
      return;
    }
    for (const std::string& note : model.notes) add_note(entry.name + ": " + note);
    if (const std::string note = format_note(entry); !note.empty()) add_note(note);
    if (!model.layer.has_shared() && asks_for_shared())
      add_note(entry.name + " has no shared expert: what is asked for with one runs shared=none");
    add_layers(entry, model.layer);
  }

  Expansion finish() {
    const auto pending = [](const CaseRecord& r) { return r.state == CaseState::pending; };
    if (std::none_of(result_.cases.begin(), result_.cases.end(), pending)) refuse_all();
    result_.plan_hash = hash_plan();
    return std::move(result_);
  }

 private:
  // Where fp8_block128 is not what was published: its times are no checkpoint's.
  std::string format_note(const ModelEntry& entry) const {
    const std::vector<DType>& dtypes = entry.dtypes.empty() ? spec_.dtypes : entry.dtypes;
    if (std::find(dtypes.begin(), dtypes.end(), DType::fp8_block128) == dtypes.end()) return "";
    for (const auto& [name, published] : kPublishedOtherwise)
      if (entry.name == name)
        return fmt::format("{}: fp8_block128 is fselab's format here, {}", name, published);
    return "";
  }

  // Whether the sweep says where the shared expert runs; the defaults only say where it may.
  bool asks_for_shared() const { return spec_.variants.shared != VariantAxes{}.shared; }

  void add_note(const std::string& text) {
    const std::string note = "note: " + text;
    if (std::find(result_.notes.begin(), result_.notes.end(), note) == result_.notes.end())
      result_.notes.push_back(note);
  }

  void add_refused_model(const Refused& refused) {
    const std::string reason = without_prefix(refused);
    if (!add_reason(reason)) return;
    result_.notes.emplace_back(refused.what());
  }

  // False where it was told already.
  bool add_reason(const std::string& reason) {
    if (std::find(reasons_.begin(), reasons_.end(), reason) != reasons_.end()) return false;
    reasons_.push_back(reason);
    return true;
  }

  void add_layers(const ModelEntry& entry, LayerSpec layer) {
    const auto [twin, is_new] = layers_.emplace(canonical_text(layer), entry.name);
    if (!is_new)
      add_note(fmt::format("{} is the same layer as {}: what both ask for runs once", entry.name,
                           twin->second));
    const std::vector<std::vector<std::string>> why = routing_reasons(layer, spec_.routing);
    for (const DType dtype : entry.dtypes.empty() ? spec_.dtypes : entry.dtypes)
      for (const Activations activations : spec_.activations)
        for (const int tp : entry.tp.empty() ? spec_.tp : entry.tp) {
          layer.dtype = dtype;
          layer.activations = activations;
          if (runs_as_bf16(dtype)) {
            layer.dtype = DType::bf16;
            layer.activations = Activations::bf16;
            add_note(fmt::format("{} has no fp8: fp8_block128 runs as bf16", device_.arch));
          }
          add_layer(layer, tp, why);
        }
  }

  bool runs_as_bf16(DType dtype) const {
    const auto& has = device_.dtypes;
    return spec_.without_fp8 == WithoutFp8::bf16 && dtype == DType::fp8_block128 &&
           std::find(has.begin(), has.end(), dtype) == has.end();
  }

  void add_layer(const LayerSpec& layer, int tp, const std::vector<std::vector<std::string>>& why) {
    const std::vector<VariantRecord> variants = judge_variants(spec_, layer, tp, device_);
    for (size_t i = 0; i < spec_.routing.size(); ++i)
      for (const uint64_t seed : spec_.seeds)
        for (const int tokens : spec_.tokens)
          for (const VariantRecord& variant : variants)
            add_case({.layer = layer,
                      .variant = variant.variant,
                      .tokens = tokens,
                      .tp = tp,
                      .routing = spec_.routing[i],
                      .cache = spec_.measure.cache,
                      .device = device_.name,
                      .seed = seed},
                     variant, why[i]);
  }

  void add_case(Case c, const VariantRecord& variant, const std::vector<std::string>& routing_why) {
    if (!seen_.insert(case_id(c)).second) return;
    if (result_.cases.size() >= kMaxCases)
      fail_usage(fmt::format("sweep {}: more than {} cases, expected fewer values on some axis",
                             spec_.study, kMaxCases));
    std::vector<std::string> reasons = variant.reasons;
    reasons.insert(reasons.end(), routing_why.begin(), routing_why.end());
    // Not every kernel takes every shape; a simulated device has none at all.
    if (reasons.empty() && device_.kind != "sim") {
      const LayerPlan plan = make_plan(c, device_);
      if (const std::string why = missing_kernel(plan, device_); !why.empty())
        reasons.push_back((c.variant.experts == Experts::fused ? "experts=fused: " : "") + why);
    }
    for (const std::string& reason : reasons) add_reason(reason);
    result_.cases.push_back({.spec = std::move(c),
                             .baseline = variant.baseline,
                             .state = reasons.empty() ? CaseState::pending : CaseState::refused,
                             .reason = fmt::format("{}", fmt::join(reasons, "; "))});
  }

  [[noreturn]] void refuse_all() const {
    throw Refused(fmt::format("nothing in sweep {} can run on {}: {}", spec_.study, device_.name,
                              fmt::join(reasons_, "; ")));
  }

  // What is done, in every respect that a resumed run must share with the one it resumes.
  std::string hash_plan() const {
    std::string text;
    for (const CaseRecord& record : result_.cases)
      text += fmt::format("{}baseline={}\n", canonical_text(record.spec), record.baseline);
    const TuneSpec& tune = spec_.tune;
    text += fmt::format("strategy={}\nseconds={}\nevaluations={}\nfraction={}\n",
                        to_name(tune.strategy), tune.seconds.value_or(0),
                        tune.evaluations.value_or(0), tune.fraction.value_or(0));
    if (tune.no_gain) text += fmt::format("no_gain={}\n", *tune.no_gain);
    for (const TileRestriction& r : tune.tiles)
      text += fmt::format("tiles={}.{}={}\n", r.target, r.axis, fmt::join(r.values, ","));
    return hash_text(text + fmt::format("min_rounds={}\ninterval={}\n", spec_.measure.min_rounds,
                                        spec_.measure.interval));
  }

  const SweepSpec& spec_;
  const DeviceInfo& device_;
  Expansion result_;
  std::set<std::string> seen_;
  std::vector<std::string> reasons_;           // of all refusals, each once
  std::map<std::string, std::string> layers_;  // canonical text -> the first model that has it
};

}  // namespace

Expansion expand(const SweepSpec& spec, const DeviceInfo& device,
                 const std::filesystem::path& configs_dir) {
  if (spec.tokens.empty())
    fail_usage(
        fmt::format("sweep {}: no key 'tokens', expected it where layers run; `serving` "
                    "alone is for fselab simulate",
                    spec.study));
  require_known_tiles(spec.tune, device.kind);
  Expander expander(spec, device);
  for (const ModelEntry& entry : spec.models) expander.add_model(entry, configs_dir);
  return expander.finish();
}

}  // namespace fse
