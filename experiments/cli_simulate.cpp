#include "experiments/cli_simulate.h"

#include <memory>

#include "core/error.h"
#include "experiments/calibrate_command.h"
#include "experiments/explain_command.h"
#include "experiments/simulate_command.h"
#include "experiments/table_command.h"
#include "experiments/validate_command.h"

namespace fse {
namespace {

struct SimulateRequest {
  std::string sweep, format = "text", table;
  std::vector<std::string> overrides, what_if;
  bool validates = false, sensitivity = false;
  ValidateOptions validate;
};

int run_simulate(SimulateRequest request) {
  const bool json = request.format == "json";
  request.validate.json = json;
  request.validate.what_if = request.what_if;
  if (request.validates) return validate_simulator(request.validate);
  std::vector<std::string> overrides = request.overrides;
  if (!request.table.empty()) {  // it stands for the sweep: all the rest are overrides
    if (!request.sweep.empty()) overrides.insert(overrides.begin(), request.sweep);
    simulate_table({request.table, overrides, request.what_if, json});
    return 0;
  }
  if (request.sweep.empty()) fail_usage("no sweep, expected a sweep, --table FILE or --validate");
  if (request.sensitivity && json) fail_usage("--sensitivity is text, expected no --format json");
  simulate_sweep({request.sweep, overrides, request.what_if, json, request.sensitivity});
  return 0;
}

}  // namespace

void add_calibrate(CLI::App& app, std::function<int()>& action) {
  const auto kept = std::make_shared<CalibrateOptions>();
  CLI::App* command = app.add_subcommand(
      "calibrate", "Measure a device and print its model, a file of configs/devices");
  command->add_option("--device", kept->device, "auto, cpu, hip:0, ...")->capture_default_str();
  command->add_option("--repeats", kept->repeats, "Of every microbenchmark")
      ->check(CLI::Range(6, 1000))
      ->capture_default_str();
  command
      ->add_option("--matrix-seconds", kept->matrix_seconds,
                   "No new matrix product begins after that")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  command->add_flag("--quick", kept->quick, "One small matrix product only, to see that it works");
  command->footer(
      "Reads and copies against workgroups and footprint, launches in a stream and a graph, the\n"
      "ramp of a kernel, two streams, events, grid barriers, widening of fp8, and dense and "
      "grouped\n"
      "matrix products; each with a 95 % interval. About a minute, on a machine that is idle.\n"
      "Example: fselab calibrate --device hip:0 > configs/devices/mine.yaml\n"
      "         fselab simulate quickstart device=mine");
  command->callback([kept, &action] {
    action = [kept] {
      calibrate_device(*kept);
      return 0;
    };
  });
}

void add_explain(CLI::App& app, std::function<int()>& action) {
  const auto kept = std::make_shared<ExplainOptions>();
  const auto format = std::make_shared<std::string>("text");
  CLI::App* command = app.add_subcommand(
      "explain",
      "Where a layer's time goes: weights, activations, launches, imbalance, tail, residual");
  command->add_option("case", kept->id, "A case's id, or how it begins")->required();
  command->add_option("overrides", kept->overrides, "With --sweep: KEY=VALUE, e.g. device=h100");
  CLI::Option* db = command->add_option("--db", kept->db, "A measured case of this database");
  command->add_option("--sweep", kept->sweep, "A simulated case of this sweep")->excludes(db);
  command->add_option("--model", kept->model,
                      "A file of configs/devices; left out: the one that fits the device");
  command->add_option("--format", *format, "text | json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->footer(
      "A time below what its bytes take at the memory's peak, or below what all parts take at\n"
      "least, is impossible: it is said, and the exit code is 1.\n"
      "Example: fselab explain 13200f49 --db results.db\n"
      "         fselab explain 5c0e --sweep quickstart device=h100");
  command->callback([kept, format, &action] {
    action = [kept, format] {
      kept->json = *format == "json";
      return explain_case(*kept);
    };
  });
}

void add_simulate(CLI::App& app, std::function<int()>& action) {
  const auto kept = std::make_shared<SimulateRequest>();  // the parser writes into it
  SimulateRequest& request = *kept;
  CLI::App* command = app.add_subcommand(
      "simulate",
      "Predict a sweep's layer times, or what its variants mean for serving, on a device of\n"
      "configs/devices");
  command->add_option("sweep", request.sweep,
                      "A YAML file, or the name of one in configs/sweeps (serving)");
  command->add_option("overrides", request.overrides, "KEY=VALUE, e.g. device=mi355x");
  CLI::Option* validate = command->add_flag(
      "--validate", request.validates,
      "Instead of a sweep: compare with published results, split by split; exits 1 where a\n"
      "prediction is worse than its split's limit");
  command
      ->add_option("--splits", request.validate.folder,
                   "Folder with splits.yaml and serving.yaml, for --validate")
      ->needs(validate);
  command->add_flag("--rows", request.validate.rows, "Also every row, for --validate")
      ->needs(validate);
  command->add_option("--format", request.format, "text | json, one object per row")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  command->add_flag("--sensitivity", request.sensitivity,
                    "Serving: below each gain, the device's uncertain numbers that move it, most\n"
                    "first, with the gain at both ends of their intervals");
  command->add_option("--table", request.table,
                      "Instead of a sweep: predict every row of a table of AITER's tuned_fmoe\n"
                      "columns, and how far off that is: --table FILE device=mi355x");
  command
      ->add_option("--what-if", request.what_if,
                   "Change a number of the device or framework: launch_us=1.0, read_gbs*=1.2,\n"
                   "host_us=0, zipf=1.2; repeatable")
      ->type_size(1)
      ->allow_extra_args(false);
  command->footer(
      "With serving: {isl: [1000], osl: [1000], concurrency: [4, 8, 16, 32],\n"
      "framework: vllm-0.19-rocm} the sweep is served, and without dtypes weights are "
      "fp8_block128\n"
      "where the device has fp8, else bf16. Without it, tokens are sent through the layers.\n"
      "Every prediction has a 90 % interval from the spreads of the device's numbers.\n"
      "Example: fselab simulate quickstart device=h100\n"
      "Example: fselab simulate serving.yaml device=mi355x --format json");
  command->callback([kept, &action] { action = [kept] { return run_simulate(*kept); }; });
}

}  // namespace fse
