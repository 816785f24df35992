#include "experiments/cli.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <new>
#include <optional>
#include <system_error>

#include "core/error.h"
#include "core/nearest.h"
#include "core/strict_json.h"
#include "core/version.h"
#include "experiments/capabilities.h"
#include "experiments/cli_kernels.h"
#include "experiments/cli_simulate.h"
#include "experiments/completion.h"
#include "experiments/db_command.h"
#include "experiments/paths.h"
#include "experiments/plan_sweep.h"
#include "experiments/record_command.h"
#include "experiments/run.h"
#include "experiments/sweep.h"
#include "experiments/verify.h"
#include "experiments/verify_certificate.h"
#include "experiments/worker_command.h"
#include "experiments/write_report.h"
#include "reports/compare.h"

namespace fse {
namespace {

const char* const kSweepHelp =
    "A sweep is a YAML file. Its keys, with what they are when left out:\n"
    "  study: NAME                                  the name results are kept under\n"
    "  models: [PRESET, ./config.json, {name: PRESET, tp: [4], dtypes: [bf16]}]\n"
    "  tokens: [1, 4, pow2(8, 64), range(8, 64, 8)] rows in the batch\n"
    "  device: auto                                 cpu | hip:0; others: verify, simulate\n"
    "  dtypes: [bf16]                               f32 | bf16 | f16 | fp8_block128\n"
    "  activations: [bf16]                          fp8_block128 only: bf16 | fp8\n"
    "  without_fp8: refuse                          bf16: run fp8_block128 so where there is none\n"
    "  tp: [1]                                      tensor-parallel degree, one rank of it runs\n"
    "  routing: [uniform]                           zipf(1.2) | dirichlet(0.3) | trace: FILE\n"
    "  seeds: [1]\n"
    "  variants: {gate: [separate, fused], topk: [unfused, fused],\n"
    "             shared: [mlp, mlp_overlapped, slot], experts: [staged]}\n"
    "                                               also experts: fused, launch: [stream, graph]\n"
    "  baseline: {gate: separate, topk: unfused, shared: mlp}\n"
    "                                               an axis left out is compared like with like\n"
    "  tune: {strategy: auto, budget: 60s}          per step: 60s | 2m | 200 | 10% |\n"
    "                                               no_gain(50) | none, or a list of these\n"
    "  tiles: {grouped_stage1: {block: [64, 128]}}  tries only these values\n"
    "  measure: {cache: cold_weights, min_rounds: 25, interval: 2%}\n"
    "Every list may be a single value. A key set on the command line (tokens=[1,4],\n"
    "variants.shared=[slot]) replaces the file's; quote what your shell would take for itself.\n";

// What the user asked for, filled in by the parser; `action` is the chosen subcommand's.
struct Request {
  std::string sweep, model, device = "auto", db, study, tiles = "default", dir;
  std::string shard, layer, certificate, kernel;
  std::string command;  // as typed
  std::vector<std::string> overrides, deadlines;
  bool steps = false, quiet = false, in_process = false, counters = false;
  int parent = 0;
  ReportOptions report;
  RecordOptions record;
  std::function<int()> action;
};

void add_sweep_arguments(CLI::App& command, Request& request) {
  command
      .add_option("sweep", request.sweep,
                  "A YAML file, or the name of one in configs/sweeps (quickstart)")
      ->required();
  command.add_option("overrides", request.overrides, "KEY=VALUE, e.g. tokens=[1,4]");
}

void add_plan(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand(
      "plan", "Expand a sweep and explain it: cases, work, memory, time; runs nothing");
  add_sweep_arguments(*command, request);
  command->add_flag("--steps", request.steps, "Also list every step of every plan");
  command->footer(std::string(kSweepHelp) +
                  "Example: fselab plan quickstart 'tokens=[1,4]' --steps");
  command->callback([&] {
    request.action = [&] {
      plan_sweep({.sweep = find_sweep(request.sweep, configs_dir()),
                  .overrides = request.overrides,
                  .steps = request.steps});
      return 0;
    };
  });
}

void add_run(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand(
      "run", "Tune, verify, measure and record a sweep; the same command again resumes it");
  add_sweep_arguments(*command, request);
  command->add_option("--db", request.db, "Where results are kept; created where missing")
      ->required();
  command->add_flag("--quiet", request.quiet, "No progress, only the comparison at the end");
  command
      ->add_option("--deadline", request.deadlines,
                   "STAGE=SECONDS that one request to the worker may take before it is killed;\n"
                   "prepare, compile, verify, screen, finals, layer_verify, layer_measure")
      ->allow_extra_args(false);
  command->add_option("--shard", request.shard,
                      "I/N: only this part of the sweep, for job arrays; see `fselab db merge`");
  command->add_flag("--in-process", request.in_process,
                    "Kernels run in this process, for a debugger: a crash ends the run");
  command->footer(std::string(kSweepHelp) +
                  "Example: fselab run quickstart 'tokens=[1,4]' --db results.db");
  command->callback([&] {
    request.action = [&] {
      return run_sweep({.sweep = request.sweep,
                        .overrides = request.overrides,
                        .db = request.db,
                        .quiet = request.quiet,
                        .in_process = request.in_process,
                        .deadlines = request.deadlines,
                        .shard = request.shard,
                        .command = request.command});
    };
  });
}

void add_record(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand(
      "record", "Measure every tile of every step of a sweep, for device: replay:FOLDER");
  add_sweep_arguments(*command, request);
  RecordOptions& record = request.record;
  command->add_option("--out", record.out, "The folder; what its files have is kept")->required();
  command
      ->add_option("--tiles", record.most_tiles,
                   "At most so many tiles of a step: where it has more, a sample")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_option("--seconds", record.seconds, "Of a step, 0: no limit")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--total", record.total_seconds, "Seconds of all steps, 0: no limit")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--steps", record.steps, "Only these: router_gate,dispatch")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->footer(std::string(kSweepHelp) +
                  "Example: fselab record spaces device=hip:0 --out spaces\n"
                  "         fselab run spaces device=replay:spaces --db replayed.db");
  command->callback([&] {
    request.action = [&] {
      request.record.sweep = request.sweep;
      request.record.overrides = request.overrides;
      return record_sweep(request.record);
    };
  });
}

void add_worker(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand(
      "worker", "Owns a device for `run`, which starts it and asks in JSON lines");
  command->add_option("--device", request.device, "auto, cpu, hip:0, ...")->required();
  command->add_option("--parent", request.parent, "Its parent, without which it ends at once");
  command->callback(
      [&] { request.action = [&] { return run_worker(request.device, request.parent); }; });
}

int verify(const Request& request) {
  if (request.certificate.empty() == request.dir.empty())
    fail_usage("verify takes a folder or --certificate FILE; fselab verify --help explains them");
  if (!request.certificate.empty())
    return verify_certificate({.file = request.certificate, .device = request.device});
  return verify_layer({.dir = request.dir,
                       .device = request.device,
                       .kernel = request.kernel,
                       .layer = request.layer,
                       .all_tiles = request.tiles == "all",
                       .counters = request.counters,
                       .db = request.db});
}

void add_verify(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand(
      "verify", "Run every variant of one layer against the float64 reference, or check a winner");
  CLI::Option* dir = command->add_option(
      "dir", request.dir,
      "A folder with config.json, model.safetensors and, where there is one, golden.safetensors");
  command->add_option("--device", request.device, "auto, cpu, hip:0, ...")->capture_default_str();
  CLI::Option* layer =
      command->add_option("--layer", request.layer,
                          "The prefix of one layer's tensors, where there are several:\n"
                          "model.layers.3.mlp");
  CLI::Option* tiles =
      command
          ->add_option("--tiles", request.tiles, "default: one tile per step; all: every legal one")
          ->check(CLI::IsMember({"default", "all"}))
          ->capture_default_str();
  CLI::Option* counters = command->add_flag(
      "--counters", request.counters,
      "On an emulated device: also count what each kernel loads, stores and multiplies,\n"
      "and hold it against what its op declares");
  command->add_option("--db", request.db, "Keep the counters there: fselab db counters")
      ->needs(counters);
  CLI::Option* kernel = command->add_option(
      "--kernel", request.kernel,
      "Only kernels whose name has this in it, in every step that has such: library");
  command
      ->add_option("--certificate", request.certificate,
                   "Instead of a folder: what `fselab db export --certificate` wrote")
      ->excludes(dir)
      ->excludes(layer)
      ->excludes(tiles)
      ->excludes(counters)
      ->excludes(kernel);
  command->footer(
      "Also on hostile inputs: one expert takes all tokens, a row of zeros, a row of NaN.\n"
      "A certificate's winner is verified and measured again beside what it was compared with:\n"
      "CONFIRMED (exit 0) where all its claims hold again, REFUTED (1) where its result is wrong "
      "or\n"
      "a claim is decided otherwise, UNDECIDED (4) where this measurement does not tell or this "
      "is\n"
      "another device; exit 5 for a file that was tampered with.\n"
      "Example: fselab verify tests/golden/qwen3_next --device cpu\n"
      "         fselab verify tests/golden/qwen3_next --device emu:gfx942 --counters --db e.db\n"
      "         fselab verify --certificate winner.json");
  command->callback([&] { request.action = [&] { return verify(request); }; });
}

void add_capabilities(CLI::App& app, Request& request) {
  CLI::App* command = app.add_subcommand(
      "capabilities",
      "The matrix of what a device can run, and why not; exit 2 for a model that it cannot run");
  command->add_option("--model", request.model, "A preset's name or a Hugging Face config.json");
  command->add_option("--device", request.device, "auto, cpu, hip:0, ...")->capture_default_str();
  command->footer("Example: fselab capabilities --model glm-4.7 --device cpu");
  command->callback([&] {
    request.action = [&] {
      return print_capabilities(request.model, request.device, configs_dir());
    };
  });
}

void add_report(CLI::App& app, Request& request) {
  CLI::App* command =
      app.add_subcommand("report", "Compare the variants of a study that a database holds");
  command->add_option("--db", request.db, "A database that `run` wrote")->required();
  command->add_option("--study", request.study, "Its name, id or plan hash; left out: the newest");
  ReportOptions& options = request.report;
  command->add_option("--format", options.format, "md | csv | json | html (one offline file)")
      ->check(CLI::IsMember({"md", "csv", "json", "html"}))
      ->capture_default_str();
  command->add_option("--out", options.out, "A file; left out: standard output");
  command
      ->add_option("--compare", options.compare,
                   "Two selections A B, A the baseline, or `simulated`")
      ->expected(2);
  command->add_option("--against", options.against, "B is taken from this database");
  command->add_option("--gate", options.gate, "With --compare: 'layer_time_us<=+3%', else exit 1");
  command->add_option("--junit", options.junit,
                      "With --compare: a test case per pair, to this file");
  command->footer(
      compare_help() +
      "The gate breaks where a pair's whole interval lies above the limit.\n"
      "Example: fselab report --db results.db --format html --out report.html\n"
      "         fselab report --db results.db --compare variant.shared=mlp variant.shared=slot\n");
  command->callback([&] {
    request.action = [&] {
      request.report.db = request.db;
      if (!request.study.empty()) request.report.study = request.study;
      return write_report(request.report);
    };
  });
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({}))
    if (!command->get_group().empty()) names.push_back(command->get_name());
  return names;
}

// The command as a shell reads it again: what is recorded can be pasted.
std::string typed_command(int argc, char** argv) {
  std::string command = "fselab";
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 ||
             std::string_view("_@%+=:,./-").find(static_cast<char>(c)) != std::string_view::npos;
    });
    std::string quoted;
    for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
    command += plain ? " " + word : " '" + quoted + "'";
  }
  return command;
}

// CLI11 would only say that a subcommand is required.
void require_known_command(const CLI::App& app, int argc, char** argv) {
  const std::vector<std::string> names = command_names(app);
  const std::string expected = fmt::format("expected one of {}", fmt::join(names, ", "));
  if (argc < 2) fail_usage(fmt::format("no command, {}; fselab --help explains them", expected));
  const std::string first = argv[1];
  const std::vector<const CLI::App*> all = app.get_subcommands({});
  const bool known =
      std::any_of(all.begin(), all.end(), [&](const auto* c) { return c->get_name() == first; });
  if (known || first.starts_with('-')) return;
  fail_usage(fmt::format("unknown command '{}', {}{}", printable(first), expected,
                         did_you_mean(first, names)));
}

int parse_and_run(int argc, char** argv) {
  CLI::App app("Composes the variants of an MoE layer, tunes, verifies and compares them.",
               "fselab");
  Request request;
  // One subcommand and no more: a study or file may be called `run` or `report`.
  app.require_subcommand(1);
  app.set_version_flag(
      "--version", fmt::format("fselab {} ({}), {}", version(), git_revision(), compiler_text()));
  app.footer(
      "Start with: fselab plan quickstart\nEvery command explains itself: fselab plan --help");
  add_plan(app, request);
  add_run(app, request);
  add_record(app, request);
  add_worker(app, request);
  add_simulate(app, request.action);
  add_calibrate(app, request.action);
  add_explain(app, request.action);
  add_verify(app, request);
  add_capabilities(app, request);
  add_db_command(app, [&](std::function<int()> action) { request.action = std::move(action); });
  add_report(app, request);
  add_inventory(app, request.action);
  add_completion(app, request.action);
  require_known_command(app, argc, argv);
  request.command = typed_command(argc, argv);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    const std::string command = argv[1][0] == '-' ? "" : fmt::format(" {}", argv[1]);
    fail_usage(fmt::format("{}; fselab{} --help explains it", printable(error.what()), command));
  }
  const int exit_code = request.action();
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    throw std::system_error(errno, std::generic_category(), "standard output cannot be written");
  return exit_code;
}

void print_error(const std::string& message) {
  const bool refused = message.starts_with("refused:");
  fmt::print(stderr, "{}{}\n", refused ? "" : "fselab: ", message);
}

}  // namespace

int run_command(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const Error& error) {
    print_error(error.what());
    return static_cast<int>(error.kind);
  } catch (const std::filesystem::filesystem_error& error) {
    print_error(error.what());
  } catch (const std::system_error& error) {  // fmt's, where a stream takes no more
    const bool output = std::string_view(error.what()).starts_with("cannot write to file");
    print_error(output ? "standard output cannot be written: " + error.code().message()
                       : error.what());
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
  } catch (const std::exception& error) {
    print_error(fmt::format("a mistake in fselab itself, please report it: {}", error.what()));
  }
  return static_cast<int>(ErrorKind::environment);
}

}  // namespace fse
