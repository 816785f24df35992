#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "tests/experiments/command.h"

namespace fse::test {
namespace {

const std::filesystem::path kValidation =
    std::filesystem::path(FSELAB_SOURCE_DIR) / "configs/validation";

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

// The shipped folder with one change to its splits.
std::filesystem::path changed(const TemporaryFolder& folder, const std::string& what,
                              const std::string& with) {
  const std::filesystem::path copy = folder / "validation";
  std::filesystem::copy(kValidation, copy);
  std::filesystem::permissions(copy / "splits.yaml", std::filesystem::perms::owner_write,
                               std::filesystem::perm_options::add);
  write_text(copy / "splits.yaml", replaced(read_text(copy / "splits.yaml"), what, with));
  return copy;
}

Result validate(const TemporaryFolder& folder, std::vector<std::string> more) {
  more.insert(more.begin(), {"simulate", "--validate"});
  return fselab(folder.path(), more);
}

}  // namespace

TEST_CASE("the simulator is as good as its limits say, on every split") {
  const TemporaryFolder folder;
  const Result r = validate(folder, {"--format", "json"});
  CAPTURE(r.err);
  CHECK(r.exit_code == 0);
  CHECK(r.err.empty());
  size_t tested = 0, rows = 0;
  for (const std::string& line : lines_of(r.out)) {
    const auto split = nlohmann::json::parse(line);
    CHECK(split.at("n").get<int>() > 0);
    if (split.at("use") == "test") ++tested;
    if (split.at("of") == "us")
      rows += split.at("n").get<size_t>() + split.at("left_out").get<size_t>();
    if (split.at("split") != "step-tp2") continue;
    // A model that predicts gains must beat copying the nearest one that is known.
    CHECK(split.at("gain").at("mean").get<double>() < split.at("gain").at("nearest").get<double>());
    CHECK(split.at("gain").at("no_gain").get<double>() > 20);
  }
  CHECK(tested >= 8);
  CHECK(rows == 285);  // tables' rows with 256 compute units, 118, 55 and 32; 80 layers
}

TEST_CASE("a prediction worse than its limit fails, and says which") {
  const TemporaryFolder folder;
  const Result r =
      validate(folder, {"--splits", changed(folder, "limit: {mape: 5}", "limit: {mape: 0.01}")});
  CHECK(r.exit_code == 1);
  CHECK(r.err.find("mape is ") != std::string::npos);
  CHECK(r.err.find("expected at most 0.01") != std::string::npos);
}

TEST_CASE("splits are read strictly") {
  const struct {
    std::string what, with, error;
  } kCases[] = {
      {"use: fit", "use: train", "use is 'train', expected one of fit, test"},
      {"goal: {mape: 5}", "goal: {rmse: 5}", "rmse"},
      {"goal: {mape: 5}", "goal: {mape: -5}", "mape is '-5', expected a number above 0"},
      {"study: qwen3-next-mi355x", "study: qwen", "study is 'qwen'"},
      {"layers: qwen3-next-h100", "layers: mine", "layers is 'mine', expected one of layers.yaml"},
      {"cu_num: 256", "cus: 256", "has no column 'cus'"},
      {"cu_num: 256", "cu_num: 7", "no row is where it says"},
      {"table: aiter_qwen3next_80b_fp8_tuned_fmoe.csv", "table: none.csv", "cannot be read"},
      {"device: mi355x", "device: mi3", "device 'mi3' has no model"},
  };
  for (const auto& c : kCases) {
    const TemporaryFolder folder;
    CAPTURE(c.with);
    const Result r = validate(folder, {"--splits", changed(folder, c.what, c.with)});
    CAPTURE(r.err);
    CHECK(r.exit_code == 2);
    CHECK(r.err.find(c.error) != std::string::npos);
  }
}

}  // namespace fse::test
