#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "core/plan.h"
#include "tests/experiments/command.h"

namespace fse::test {
namespace {

// A database with one measured layer of the given time, as a run leaves it.
Case store_layer(const std::filesystem::path& file, double us, int tokens = 4) {
  Store store = Store::create_or_open(file);
  const Case c = sample_case(Shared::mlp, tokens);
  const int64_t study = store.add_study(sample_study(), {{.spec = c, .baseline = true}});
  AttemptRecord a = layer_attempt(c);
  a.read_gbs = 40;
  a.peak_gflops = 100;
  a.load_histogram.assign(512, 0);
  for (int e = 0; e < 39; ++e) a.load_histogram[static_cast<size_t>(e)] = 1 + (e == 0);
  record(store, study, store.add_environment(sample_environment()), a, verified_outcome(us));
  return c;
}

nlohmann::json explained(const Result& r) {
  CAPTURE(r.err);
  REQUIRE(!r.out.empty());
  return nlohmann::json::parse(r.out);
}

double parts(const nlohmann::json& e) {
  double sum = 0;
  for (const char* part : {"weights_us", "activations_us", "math_us", "launches_us", "imbalance_us",
                           "tail_us", "streams_us", "residual_us"})
    sum += e.at(part).get<double>();
  return sum;
}

}  // namespace

TEST_CASE("a measured layer's time is split into parts that add up to it") {
  const TemporaryFolder folder;
  const Case c = store_layer(folder / "r.db", 9000);
  const std::string prefix = case_id(c).substr(0, 6);
  const Result r = fselab(folder.path(), {"explain", prefix, "--db", "r.db", "--format", "json"});
  const auto e = explained(r);
  CHECK(r.exit_code == 0);
  CHECK(e.at("case") == case_id(c));
  CHECK(e.at("impossible") == "");
  CHECK(parts(e) == doctest::Approx(e.at("layer_time_us").get<double>()));
  // 39 experts of 6.3 MB, the shared one and the router, at the 40 GB/s of that run.
  CHECK(e.at("weights_us").get<double>() ==
        doctest::Approx((40 * 6.291 + 2.1) / 40e-3).epsilon(0.01));
  const Result text = fselab(folder.path(), {"explain", prefix, "--db", "r.db"});
  CHECK(text.out.find("| residual ") != std::string::npos);
  CHECK(text.out.find("| grouped_stage1 ") != std::string::npos);
}

TEST_CASE("a measured step is shown with what the emulator counted of its kernel") {
  const TemporaryFolder folder;
  const Environment environment = sample_environment();
  const Case c = sample_case();
  const LayerPlan plan = make_plan(c, environment.device);
  {
    Store store = Store::create_or_open(folder / "r.db");
    const int64_t study = store.add_study(sample_study(), {{.spec = c, .baseline = true}});
    const int64_t id = store.add_environment(environment);
    AttemptRecord a = layer_attempt(c);
    a.read_gbs = 40;
    a.peak_gflops = 100;
    for (const Step& step : plan.steps)
      a.steps.push_back({.step = step.name,
                         .op = to_name(step.op),
                         .kernel = "k." + to_name(step.op),
                         .tile = tile_from_text("warps=4"),
                         .time_us = {9, 9, 9, 25}});
    record(store, study, id, a, verified_outcome(9000));
    CountRecord count{.step_key = step_key(plan, plan.steps.back()),
                      .workload = "golden",
                      .op = to_name(plan.steps.back().op),
                      .kernel = a.steps.back().kernel,
                      .tile = a.steps.back().tile,
                      .bytes = 1000,
                      .counters = {.loaded_bytes = 2500, .lds_cycles = 10, .lds_conflicts = 4}};
    store.add_count(id, count);
    count.step_key = step_key(plan, plan.steps.front());  // with another tile: of no step
    count.tile = tile_from_text("warps=8");
    store.add_count(id, count);
  }
  const std::vector<std::string> words{"explain", case_id(c), "--db", "r.db"};
  CHECK(contains(fselab(folder.path(), words).out, "LDS conflicts %"));
  std::vector<std::string> as_json = words;
  as_json.insert(as_json.end(), {"--format", "json"});
  const auto e = explained(fselab(folder.path(), as_json));
  REQUIRE(e.at("counters").size() == 1);
  CHECK(e.at("counters")[0].at("step") == plan.steps.back().name);
  CHECK(e.at("counters")[0].at("declared_bytes") == 1000);
  CHECK(e.at("counters")[0].at("loaded_bytes") == 2500);
  CHECK(e.at("counters")[0].at("lds_conflict_share") == doctest::Approx(0.4));
}

TEST_CASE("an impossible time is flagged") {
  const TemporaryFolder folder;
  const Case c = store_layer(folder / "r.db", 900);
  const Result r = fselab(folder.path(), {"explain", case_id(c), "--db", "r.db"});
  CHECK(r.exit_code == 1);
  CHECK(r.out.find("impossible: 90") != std::string::npos);
}

TEST_CASE("a simulated case is split with no residual, by the id that simulate prints") {
  const TemporaryFolder folder;
  const std::vector<std::string> sweep{"device=h100", "tokens=[16]", "models=[qwen3-next-80b-a3b]",
                                       "variants={shared: [mlp_overlapped]}"};
  std::vector<std::string> simulate{"simulate", "quickstart", "--format", "json"};
  simulate.insert(simulate.end(), sweep.begin(), sweep.end());
  const auto rows = lines_of(fselab(folder.path(), simulate).out);
  REQUIRE(!rows.empty());
  const auto row = nlohmann::json::parse(rows.back());
  std::vector<std::string> explain{"explain",    row.at("case"), "--sweep",
                                   "quickstart", "--format",     "json"};
  explain.insert(explain.end(), sweep.begin(), sweep.end());
  const Result r = fselab(folder.path(), explain);
  const auto e = explained(r);
  CHECK(r.exit_code == 0);
  CHECK(e.at("layer_time_us").get<double>() ==
        doctest::Approx(row.at("layer_time_us").get<double>()));
  CHECK(e.at("residual_us").get<double>() == doctest::Approx(0));
  CHECK(parts(e) == doctest::Approx(e.at("layer_time_us").get<double>()));
}

TEST_CASE("what cannot be explained is refused with what can") {
  const TemporaryFolder folder;
  const Case c = store_layer(folder / "r.db", 9000);
  const auto error = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "explain");
    const Result r = fselab(folder.path(), arguments);
    CHECK(r.exit_code == 2);
    return r.err;
  };
  CHECK(contains(error({"zzz", "--db", "r.db"}), "case 'zzz': there is none"));
  CHECK(contains(error({"", "--sweep", "quickstart", "device=h100"}), "begin so, expected more"));
  CHECK(contains(error({"0", "--sweep", "quickstart"}), "expected a device model"));
  CHECK(contains(error({"0"}), "expected --db FILE"));
  CHECK(contains(error({"0", "--db", "none.db"}), "none.db"));
  CHECK(contains(error({case_id(c), "tokens=[1]", "--db", "r.db"}), "expected them with --sweep"));
  CHECK(contains(error({case_id(c), "--db", "r.db", "--model", "h10"}), "did you mean 'h100'?"));
}

TEST_CASE("a case without a time says why it has none") {
  const TemporaryFolder folder;
  Store store = Store::create_or_open(folder / "r.db");
  const Case c = sample_case();
  const int64_t study = store.add_study(sample_study(), {{.spec = c}});
  store.set_case_state(study, case_id(c), CaseState::failed, "no tile of topk was right");
  const Result r = fselab(folder.path(), {"explain", case_id(c), "--db", "r.db"});
  CHECK(r.exit_code == 2);
  CHECK(contains(r.err, "no tile of topk was right"));
}

}  // namespace fse::test
