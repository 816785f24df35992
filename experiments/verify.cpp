#include "experiments/verify.h"

#include <fmt/format.h>

#include <optional>

#include "core/error.h"
#include "core/model_import.h"
#include "core/outcome.h"
#include "core/routing.h"
#include "core/safetensors.h"
#include "experiments/device_choice.h"
#include "tuner/hostile.h"
#include "tuner/step_bench.h"
#include "tuner/tune.h"
#include "tuner/verify.h"

namespace fse {
namespace {

// The golden module computes routing weights in float32: see tests/golden/README.md.
constexpr double kGoldenTolerance = 1e-5;

// One layer with weights of one dtype, an input, and what it should give.
struct Subject {
  LayerWeights weights;
  std::vector<float> x;
  int tokens = 0;
  std::optional<Matrix> golden_out;  // only where it applies to these weights
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

Matrix tensor_matrix(const TensorView& tensor) {
  check(tensor.shape.size() == 2, "a golden tensor is a matrix");
  Matrix values(tensor.shape[0], tensor.shape[1]);
  for (Eigen::Index i = 0; i < values.size(); ++i) values.data()[i] = tensor.at(i);
  return values;
}

std::vector<float> golden_input(const Safetensors& golden, const std::filesystem::path& file,
                                int hidden) {
  const TensorView& input = golden.at("input");
  if (input.shape.size() != 2 || input.shape[0] < 1 || input.shape[1] != hidden)
    fail_data(
        fmt::format("{}: input: expected shape [tokens, hidden = {}]", file.string(), hidden));
  std::vector<float> x(static_cast<size_t>(input.elements()));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(input.at(static_cast<int64_t>(i)));
  return x;
}

Subject load_subject(const LayerSpec& layer, const std::string& storage,
                     const std::filesystem::path& dir) {
  constexpr int kTokens = 16;
  Subject subject{.weights = load_weights(layer, make_shard(layer, 1, 0), dir)};
  const std::filesystem::path file = dir / "golden.safetensors";
  if (!std::filesystem::exists(file)) {
    subject.tokens = kTokens;
    subject.x = random_input(kTokens, layer.hidden, 1);
    return subject;
  }
  const Safetensors golden = Safetensors::open(file);
  subject.x = golden_input(golden, file, layer.hidden);
  subject.tokens = static_cast<int>(subject.x.size()) / layer.hidden;
  // f32 holds every checkpoint format exactly; other conversions round, so that only the reference
  // over the same converted values is their truth.
  const bool own_weights = layer.dtype == DType::f32 || to_name(layer.dtype) == storage;
  if (!own_weights) return subject;
  const TensorView& output = golden.at("output");
  if (output.shape != std::vector<int64_t>{subject.tokens, layer.hidden})
    fail_data(fmt::format("{}: output: expected shape [{}, {}]", file.string(), subject.tokens,
                          layer.hidden));
  subject.golden_out = tensor_matrix(output);
  if (!subject.golden_out->allFinite())  // compare() would take such an element for undefined
    fail_data(
        fmt::format("{}: output: holds NaN or infinity, expected finite values", file.string()));
  return subject;
}

// The reference's own answer against the golden one: the external truth for everything below.
void judge_reference(LayerReference& reference, const LayerPlan& plan, const Subject& subject,
                     const std::string& what, Tally& tally) {
  if (!subject.golden_out) return;
  Matrix ids(plan.tokens, plan.layer.routing.top_k);
  const Matrix keys =
      selection_keys(plan.layer.routing, reference.scores(), subject.weights.selection_bias);
  for (Eigen::Index t = 0; t < ids.rows(); ++t) {
    const std::vector<int> row = select_experts(plan.layer.routing, keys.row(t).data());
    for (size_t j = 0; j < row.size(); ++j) ids(t, static_cast<Eigen::Index>(j)) = row[j];
  }
  const Accuracy accuracy =
      compare(reference.out(ids), *subject.golden_out, kGoldenTolerance, "out");
  const std::string numbers = fmt::format("error {:.1e} (bound {:.0e}) to the golden output",
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
  if (check.ok() && subject.golden_out && check.routing.near_ties == 0) {
    const double bound = check.output.bound + kGoldenTolerance;
    const Accuracy golden = compare(session.read(Buf::out), *subject.golden_out, bound, "out");
    check.output.first_bad = golden.first_bad;
  }
  check.ok() ? tally.pass(what, numbers(check)) : tally.fail(what, check.reason());
}

// One worst check over all hostile inputs, each with a reference of its own.
void judge_hostile(Session& session, const LayerPlan& plan, std::span<const Choice> choices,
                   const Subject& subject, const std::string& what, Tally& tally) {
  LayerCheck worst;
  std::string reason;
  for (const HostileInput& input : hostile_inputs({&subject.weights, 1}, plan.tokens)) {
    LayerReference reference(plan, subject.weights,
                             to_matrix(input.x, plan.tokens, plan.layer.hidden));
    const LayerCheck check = verify_layer_run(session, plan, choices,
                                              subject.weights.selection_bias, reference, input.x);
    if (reason.empty() && !check.ok()) reason = input.name + ": " + check.reason();
    keep_worse(worst.output, check.output);
    worst.routing.rows += check.routing.rows;
    worst.routing.equal += check.routing.equal;
    worst.routing.near_ties += check.routing.near_ties;
  }
  reason.empty() ? tally.pass(what, numbers(worst)) : tally.fail(what, reason);
}

// Every legal tile of every step, each against the step's own reference, on hostile inputs too.
void judge_tiles(Session& session, const LayerPlan& plan, const DeviceInfo& device,
                 std::span<const Choice> choices, const Subject& subject, const std::string& what,
                 Tally& tally) {
  const Workload workload{.sets = {subject.weights}, .inputs = {subject.x}};
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    StepBench bench(session, plan, i, choices, workload);
    int passed = 0;
    double worst = 0;
    const std::vector<Choice> all = candidates(plan, plan.steps[i], device, {});
    bench.compile(all);
    for (const Choice& choice : all) {
      const Accuracy accuracy = bench.verify(choice);
      worst = std::max(worst, accuracy.rel_frobenius);
      if (accuracy.ok()) {
        ++passed;
        continue;
      }
      tally.fail(fmt::format("{} {} {} {}", what, plan.steps[i].name, choice.kernel->name,
                             to_text(choice.tile)),
                 accuracy.first_bad);
    }
    if (passed > 0)
      tally.pass(fmt::format("{} {}", what, plan.steps[i].name),
                 fmt::format("error {:.1e}  {} tiles", worst, passed));
  }
}

void verify_dtype(Backend& backend, const ModelConfig& config, const VerifyOptions& options,
                  DType dtype, Tally& tally) {
  LayerSpec layer = config.layer;
  layer.dtype = dtype;
  const Subject subject = load_subject(layer, config.storage, options.dir);
  std::optional<LayerReference> reference;
  for (const Variant& variant : all_variants()) {
    const std::string what = fmt::format("{} {}", to_name(dtype), to_label(variant));
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
      judge_reference(*reference, plan, subject, to_name(dtype) + " reference", tally);
    }
    try {
      const auto session = backend.open(plan, {subject.weights});
      const std::vector<Choice> choices = default_choices(plan, backend.device());
      judge_layer(*session, plan, choices, *reference, subject, what, tally);
      judge_hostile(*session, plan, choices, subject, what + " hostile", tally);
      if (options.all_tiles)
        judge_tiles(*session, plan, backend.device(), choices, subject, what, tally);
    } catch (const AttemptError& error) {
      if (error.status == Status::crashed) throw;  // what the device answers now counts nothing
      tally.fail(what, fmt::format("{}: {}", to_name(error.status), error.what()));
    }
  }
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
    throw Refused(fmt::format("{}: weights stored as {} cannot be loaded",
                              (options.dir / "config.json").string(), config.storage));
  const auto backend = open_device(options.device);
  Tally tally;
  for (DType dtype : backend->device().dtypes)
    verify_dtype(*backend, config, options, dtype, tally);
  fmt::print("{} passed, {} failed, {} skipped\n", tally.passed, tally.failed, tally.skipped);
  if (tally.failed > 0) return 1;
  return tally.passed > 0 ? 0 : 2;
}

}  // namespace fse
