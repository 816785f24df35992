#include "experiments/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "core/counted.h"
#include "core/error.h"
#include "core/model_import.h"
#include "core/outcome.h"
#include "experiments/count_kernels.h"
#include "experiments/device_choice.h"
#include "experiments/golden.h"
#include "tuner/layer_bench.h"
#include "tuner/tune.h"
#include "tuner/verify.h"

namespace fse {
namespace {

// One layer with weights of one dtype, an input, and what it should give.
struct Subject {
  LayerWeights weights;
  std::vector<float> x;
  int tokens = 0;
  std::optional<GoldenAnswer> golden;  // only where it applies to these weights
};

struct Tally {
  int passed = 0, failed = 0, skipped = 0;
  void line(const std::string& what, const std::string& result) {
    fmt::print("{:<62} {}\n", what, result);
  }
  void pass(const std::string& what, const std::string& result) {
    ++passed;
    line(what, "ok      " + result);
  }
  void fail(const std::string& what, const std::string& result) {
    ++failed;
    line(what, "FAILED  " + result);
  }
  void skip(const std::string& what, const std::string& reason) {
    ++skipped;
    line(what, fmt::format("skipped ({})", reason));
  }
};

Subject load_subject(const LayerSpec& layer, const std::string& storage,
                     const VerifyOptions& options) {
  constexpr int kTokens = 16;
  Subject subject{.weights =
                      load_weights(layer, make_shard(layer, 1, 0), options.dir, options.layer)};
  const std::filesystem::path file = options.dir / "golden.safetensors";
  if (!std::filesystem::exists(file)) {
    subject.tokens = kTokens;
    subject.x = random_input(kTokens, layer.hidden, 1);
    return subject;
  }
  GoldenAnswer golden = read_golden(file, layer);
  subject.tokens = static_cast<int>(golden.input.rows());
  for (const double x : golden.input.reshaped<Eigen::RowMajor>())
    subject.x.push_back(static_cast<float>(x));
  // f32 holds every checkpoint format exactly; other conversions round, and so do fp8 activations:
  // then only the reference over the same values is their truth.
  const bool own_weights = layer.dtype == DType::f32 || to_name(layer.dtype) == storage;
  if (own_weights && layer.activations == Activations::bf16) subject.golden = std::move(golden);
  return subject;
}

// The reference's own answer against the golden one: the external truth for everything below.
void judge_reference(LayerReference& reference, const LayerPlan& plan, const Subject& subject,
                     const std::string& what, Tally& tally) {
  if (!subject.golden) return;
  const Accuracy accuracy =
      compare_golden(reference, plan, subject.weights.selection_bias, *subject.golden);
  const std::string numbers = fmt::format("error {:.1e} (bound {:.0e}) to the golden answer",
                                          accuracy.rel_frobenius, accuracy.bound);
  accuracy.ok() ? tally.pass(what, numbers) : tally.fail(what, accuracy.first_bad);
}

std::string numbers(const LayerCheck& check) {
  return fmt::format(
      "error {:.1e} (bound {:.0e})  worst {:.1e}  routing {}/{}{}", check.output.rel_frobenius,
      check.output.bound, check.output.worst, check.routing.equal, check.routing.rows,
      check.routing.near_ties ? fmt::format(" ({} near ties)", check.routing.near_ties) : "");
}

void judge_layer(Session& session, const LayerPlan& plan, std::span<const Choice> choices,
                 LayerReference& reference, const Subject& subject, const std::string& what,
                 Tally& tally) {
  LayerCheck check = verify_layer_run(session, plan, choices, subject.weights.selection_bias,
                                      reference, subject.x);
  const bool same_experts = check.routing.near_ties == 0;
  if (check.ok() && subject.golden && same_experts) {
    const double bound = check.output.bound + kGoldenTolerance;
    const Accuracy golden = compare(session.read(Buf::out), subject.golden->out, bound, "out");
    check.output.first_bad = golden.first_bad;
  }
  const std::string skipped =
      subject.golden && !same_experts
          ? fmt::format("  golden not compared: {}", counted(check.routing.near_ties, "near tie"))
          : "";
  check.ok() ? tally.pass(what, numbers(check) + skipped) : tally.fail(what, check.reason());
}

// One worst check over all hostile inputs.
void judge_hostile(Session& session, const LayerPlan& plan, std::span<const Choice> choices,
                   std::vector<LayerTrial>& trials, const Subject& subject, const std::string& what,
                   Tally& tally) {
  LayerCheck worst;
  std::string reason;
  for (LayerTrial& trial : trials) {
    const LayerCheck check = verify_layer_run(
        session, plan, choices, subject.weights.selection_bias, trial.reference, trial.input.x);
    if (reason.empty() && !check.ok()) reason = trial.input.name + ": " + check.reason();
    keep_worse(worst.output, check.output);
    worst.routing.rows += check.routing.rows;
    worst.routing.equal += check.routing.equal;
    worst.routing.near_ties += check.routing.near_ties;
  }
  reason.empty() ? tally.pass(what, numbers(worst)) : tally.fail(what, reason);
}

bool is_wanted(const Choice& choice, const VerifyOptions& options) {
  return choice.kernel->name.find(options.kernel) != std::string::npos;
}

// The default tile of every step, of a kernel that is wanted where there is one.
std::vector<Choice> choices_of(const LayerPlan& plan, const DeviceInfo& device,
                               const VerifyOptions& options) {
  std::vector<Choice> choices = default_choices(plan, device);
  for (size_t i = 0; i < choices.size(); ++i) {
    if (is_wanted(choices[i], options)) continue;
    const std::vector<Choice> all = candidates(plan, plan.steps[i], device, {});
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const Choice& c) { return is_wanted(c, options); });
    if (found != all.end()) choices[i] = *found;
  }
  return choices;
}

struct TileCheck {
  std::optional<Accuracy> accuracy;  // nothing where the tile cannot run after all: `why`
  std::string why;
};
// A library may propose fewer algorithms than there are tiles for them.
TileCheck verify_tile(StepBench& bench, const Choice& choice) {
  try {
    return {.accuracy = bench.verify(choice)};
  } catch (const AttemptError& error) {
    if (error.status != Status::illegal) throw;
    return {.accuracy = {}, .why = error.what()};
  }
}

// Every legal tile of every step, each against the step's own reference, on hostile inputs too.
void judge_tiles(Session& session, const LayerPlan& plan, const DeviceInfo& device,
                 std::span<const Choice> choices, const VerifyOptions& options,
                 const Subject& subject, const std::string& what, Tally& tally) {
  const Workload workload{.sets = {subject.weights}, .inputs = {subject.x}};
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    StepBench bench(session, plan, i, choices, workload);
    int passed = 0;
    double worst = 0;
    std::vector<Choice> all = candidates(plan, plan.steps[i], device, {});
    std::erase_if(all, [&](const Choice& choice) { return !is_wanted(choice, options); });
    bench.compile(all);
    for (const Choice& choice : all) {
      const std::string name = fmt::format("{} {} {}", what, plan.steps[i].name, to_text(choice));
      const TileCheck check = verify_tile(bench, choice);
      if (!check.accuracy) {
        tally.skip(name, check.why);
        continue;
      }
      worst = std::max(worst, check.accuracy->rel_frobenius);
      if (check.accuracy->ok())
        ++passed;
      else
        tally.fail(name, check.accuracy->first_bad);
    }
    if (passed > 0)
      tally.pass(fmt::format("{} {}", what, plan.steps[i].name),
                 fmt::format("error {:.1e}  {} tiles", worst, passed));
  }
}

// What each kernel loads, stores and multiplies on the layer's own tokens.
void judge_counters(Session& session, const LayerPlan& plan, std::span<const Choice> choices,
                    KernelCounting& counting, const Subject& subject, const VerifyOptions& options,
                    Tally& tally) {
  const std::string workload =
      fmt::format("{} {}", subject.golden ? "golden" : "random",
                  std::filesystem::absolute(options.dir).lexically_normal().filename().string());
  session.set_input(subject.x);
  session.run(choices, 0);
  for (const CountRecord& r : counting.count(session, plan, choices, workload, options.all_tiles)) {
    const std::string what = fmt::format("{} counters", choice_text(r.kernel, r.tile));
    r.finding.empty() ? tally.pass(what, count_text(r)) : tally.fail(what, r.finding);
  }
}

void verify_numbers(Backend& backend, const ModelConfig& config, const VerifyOptions& options,
                    const LayerSpec& layer, KernelCounting* counting, Tally& tally) {
  const Subject subject = load_subject(layer, config.storage, options);
  const std::string name =
      fmt::format("{}{}", to_name(layer.dtype),
                  layer.activations == Activations::fp8 ? " activations=fp8" : "");
  std::optional<LayerReference> reference;
  std::vector<LayerTrial> hostile;
  for (const Variant& variant : all_variants()) {
    const std::string what = fmt::format("{} {}", name, to_label(variant));
    const std::vector<std::string> reasons = check(layer, variant, backend.device());
    if (!reasons.empty()) {
      tally.skip(what, "refused: " + reasons.front());
      continue;
    }
    const LayerPlan plan =
        make_plan(layer, subject.weights.shard, variant, subject.tokens, backend.device());
    if (const std::string why = missing_kernel(plan, backend.device()); !why.empty()) {
      tally.skip(what, "refused: " + why);
      continue;
    }
    if (!reference) {
      reference.emplace(plan, subject.weights, to_matrix(subject.x, subject.tokens, layer.hidden));
      hostile = hostile_trials(plan, {&subject.weights, 1});
      judge_reference(*reference, plan, subject, name + " reference", tally);
    }
    try {
      const auto session = backend.open(plan, {subject.weights});
      const std::vector<Choice> choices = choices_of(plan, backend.device(), options);
      judge_layer(*session, plan, choices, *reference, subject, what, tally);
      judge_hostile(*session, plan, choices, hostile, subject, what + " hostile", tally);
      if (options.all_tiles)
        judge_tiles(*session, plan, backend.device(), choices, options, subject, what, tally);
      if (counting) judge_counters(*session, plan, choices, *counting, subject, options, tally);
    } catch (const AttemptError& error) {
      if (error.status == Status::crashed) throw;  // what the device answers now counts nothing
      tally.fail(what, fmt::format("{}: {}", to_name(error.status), error.what()));
    }
  }
}

// The layer in every dtype, and every type of activations, that the device has kernels for.
std::vector<LayerSpec> number_formats(LayerSpec layer, const DeviceInfo& device) {
  std::vector<LayerSpec> all;
  for (const DType dtype : device.dtypes)
    for (const auto& [activations, name] : kNames<Activations>) {
      layer.dtype = dtype;
      layer.activations = activations;
      const bool converts = activations == Activations::fp8;
      if (!converts || (device.fp8_activations && dtype == DType::fp8_block128))
        all.push_back(layer);
    }
  return all;
}

}  // namespace

int verify_layer(const VerifyOptions& options) {
  if (!std::filesystem::exists(options.dir / "model.safetensors") &&
      !std::filesystem::exists(options.dir / "model.safetensors.index.json"))
    fail_usage(
        fmt::format("{}: expected config.json and model.safetensors (or its index file) there",
                    options.dir.string()));
  const ModelConfig config = import_config(options.dir / "config.json");
  if (!config.storage_supported)
    throw Refused(fmt::format("{}: {}: weights stored as {} cannot be loaded",
                              (options.dir / "config.json").string(), config.storage_key,
                              config.storage));
  const auto backend = open_device(options.device);
  std::optional<KernelCounting> counting;
  if (options.counters) counting.emplace(*backend, options.db);
  Tally tally;
  for (const LayerSpec& layer : number_formats(config.layer, backend->device()))
    verify_numbers(*backend, config, options, layer, counting ? &*counting : nullptr, tally);
  fmt::print("{} passed, {} failed, {} skipped\n", tally.passed, tally.failed, tally.skipped);
  if (tally.failed > 0) return 1;
  return tally.passed > 0 ? 0 : 2;
}

}  // namespace fse
