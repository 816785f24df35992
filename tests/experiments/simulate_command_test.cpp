#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/experiments/command.h"

namespace fse::test {
namespace {

const std::string kVariants =
    "variants: {gate: [separate, fused], topk: [unfused, fused], shared: [mlp, slot]}\n";

std::vector<nlohmann::json> simulate(const std::string& serving,
                                     std::vector<std::string> more = {}) {
  const TemporaryFolder folder;
  write_text(
      folder / "s.yaml",
      "study: s\nmodels: [{name: glm-4.7, tp: [4]}]\ndevice: sim:mi355x\n" + serving + kVariants);
  more.insert(more.begin(), {"simulate", "s.yaml", "--format", "json"});
  const Result r = fselab(folder.path(), more);
  CAPTURE(r.err);
  REQUIRE(r.exit_code == 0);
  std::vector<nlohmann::json> rows;
  for (const std::string& line : lines_of(r.out)) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

double rate(const nlohmann::json& row) {
  return row.at("output_tok_s").get<double>();
}

const std::string kServing = "serving: {isl: [1000], osl: [100], concurrency: [4]";
const std::string kTable = ", scales: channel, tables: [aiter_glm47_fp8_tuned_fmoe.csv]";

}  // namespace

TEST_CASE("an anchor is returned for the baseline, and only the difference is predicted") {
  const auto free = simulate(kServing + "}\n");
  const std::string anchor =
      ", anchor: [{model: glm-4.7, tp: 4, isl: 1000, osl: 100, concurrency: 4, output_tok_s: 100}]";
  const auto anchored = simulate(kServing + anchor + "}\n");
  REQUIRE(free.size() == anchored.size());
  CHECK(rate(anchored[0]) == doctest::Approx(100));
  CHECK(anchored[0].at("gain_percent").get<double>() == doctest::Approx(0));
  for (size_t i = 0; i < free.size(); ++i) {
    CAPTURE(i);
    // The same ms per token less, of more ms in all.
    const double saved = 4e3 / rate(free[0]) - 4e3 / rate(free[i]);
    CHECK(4e3 / 100 - 4e3 / rate(anchored[i]) == doctest::Approx(saved));
  }
}

TEST_CASE("a table changes the variant whose shape it has, and no other") {
  const auto without = simulate(kServing + ", scales: channel}\n");
  const auto with = simulate(kServing + kTable + "}\n");
  REQUIRE(without.size() == with.size());
  for (size_t i = 0; i < with.size(); ++i) {
    const bool slot = with[i].at("variant").get<std::string>().find("slot") != std::string::npos;
    CHECK((rate(with[i]) == rate(without[i])) == !slot);
  }
}

TEST_CASE("cheaper launches shrink what the slot gains") {
  const auto gain = [](const std::vector<nlohmann::json>& rows) {
    return rows.back().at("gain_percent").get<double>();
  };
  CHECK(gain(simulate(kServing + "}\n", {"--what-if", "launch_us=0.5"})) <
        gain(simulate(kServing + "}\n")));
}

TEST_CASE("what moves a gain is listed, most first") {
  const TemporaryFolder folder;
  const Result r = fselab(
      folder.path(), {"simulate", "serving", "device=mi355x", "serving.concurrency=[4]",
                      "models=[qwen3-next-80b-a3b]", "variants={shared: slot}", "--sensitivity"});
  CAPTURE(r.err);
  REQUIRE(r.exit_code == 0);
  CHECK(r.out.find("    launch_us ") != std::string::npos);
  CHECK(r.out.find("    launch_us ") < r.out.find("    grouped_us "));
}

TEST_CASE("layers of a sweep are simulated on a device model, with the gain over the baseline") {
  const TemporaryFolder folder;
  const Result r = fselab(folder.path(), {"simulate", "quickstart", "device=h100", "tokens=[1,16]",
                                          "models=[qwen3-next-80b-a3b]", "--format", "json"});
  CAPTURE(r.err);
  REQUIRE(r.exit_code == 0);
  int baselines = 0;
  for (const std::string& line : lines_of(r.out)) {
    const auto row = nlohmann::json::parse(line);
    CHECK(row.at("low_us").get<double>() < row.at("layer_time_us").get<double>());
    CHECK(row.at("layer_time_us").get<double>() < row.at("high_us").get<double>());
    baselines += row.at("layer_time_us") == row.at("baseline_us");
  }
  CHECK(baselines == 2);
}

TEST_CASE("serving settings that make no sense are refused with what would") {
  const TemporaryFolder folder;
  const auto error = [&](const std::string& override_text) {
    const Result r = fselab(folder.path(), {"simulate", "serving", override_text});
    CHECK(r.exit_code == 2);
    return r.err;
  };
  CHECK(error("serving.prompts=2").find("serving.prompts") != std::string::npos);
  CHECK(error("serving.scales=row").find("serving.scales") != std::string::npos);
  CHECK(error("serving.tables=[none.csv]").find("none.csv") != std::string::npos);
  CHECK(error("serving.anchor=[{model: a}]").find("serving.anchor") != std::string::npos);
}

}  // namespace fse::test
