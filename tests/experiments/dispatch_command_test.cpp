#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "reports/columns.h"
#include "tests/experiments/command.h"
#include "tests/experiments/measured_study.h"

namespace fse::test {
namespace {

struct Folder {
  TemporaryFolder folder;
  explicit Folder(const std::function<void(Environment&)>& change = {}) {
    MeasuredStudy s(folder / "d.db", change);
    fill_crossing(s);
    s.write();
  }
  Result ask(std::vector<std::string> more) const {
    std::vector<std::string> all{"db", "dispatch", "--db", "d.db"};
    all.insert(all.end(), more.begin(), more.end());
    return fselab(folder.path(), all);
  }
  nlohmann::json json(std::vector<std::string> more) const {
    more.push_back("--json");
    return nlohmann::json::parse(ask(more).out);
  }
};

}  // namespace

TEST_CASE("B33: db dispatch: the smallest table, its crossover, and size against regret") {
  const Folder at;
  const Result text = at.ask({});
  CHECK(text.exit_code == 0);
  CHECK(contains(text.out, "2 rows, worst regret 0.00 % at the measured token counts"));
  CHECK(contains(text.out, "within the 2 % that was asked for"));
  CHECK(contains(text.out, "Layers against themselves differ by up to 0.10 %"));
  CHECK(contains(text.out, "measured between 8 and 32"));
  const nlohmann::json rows = at.json({});
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["variant"] == "separate/unfused/slot/staged/stream");
  CHECK(rows[0]["tokens_to"] == 15);
  CHECK(rows[1]["variant"] == "separate/unfused/mlp/staged/stream");
  CHECK(rows[1]["tokens_from"] == 16);
  CHECK(rows[1]["tokens_to"] == 128);
  const nlohmann::json costs = at.json({"--costs"});
  REQUIRE(costs.size() == 2);
  CHECK(costs[0]["held_out_percent"] >= 10);
  CHECK(costs[1]["chosen"] == "yes");
  CHECK(at.json({"--regret", "40%"}).size() == 1);
  CHECK(lines_of(at.ask({"--csv"}).out).size() == 3);
  CHECK(contains(at.ask({"--md"}).out, "| routing |"));
  const nlohmann::json tiles = at.json({"--tiles"});
  CHECK(tiles.size() > 8);
  for (const std::string more : {"", " --costs", " --tiles", " --tokens"}) {
    std::string columns = "model,dtype,activations,tp,cache,device,product,environment";
    for (const Column& c : columns_of("dispatch" + more)) columns += "," + std::string(c.name);
    std::vector<std::string> words{"--csv"};
    if (!more.empty()) words.push_back(more.substr(1));
    if (more == " --tokens") words.emplace_back("8");
    CHECK(lines_of(at.ask(words).out).at(0) == columns + "\r");
  }
  CHECK(tiles[0]["kernel"].get<std::string>().starts_with("cpu."));
}

TEST_CASE("db dispatch: a regret that is not reached is exit 1") {
  const TemporaryFolder folder;
  {
    MeasuredStudy s(folder / "d.db");
    for (const int tokens : {1, 2, 4, 8}) s.add(tokens, tokens == 4 ? 5000 : 1000, 2000);
    s.write();
  }
  const Result result = fselab(folder.path(), {"db", "dispatch", "--db", "d.db"});
  CHECK(result.exit_code == 1);
  CHECK(contains(result.out, "NOT within the 2 %"));
}

TEST_CASE("B34: db dispatch --tokens: exact, interpolated and default, with kernels and tiles") {
  const Folder at;
  const auto answer = [&](const std::string& tokens, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--tokens", tokens});
    const nlohmann::json rows = at.json(more);
    REQUIRE(!rows.empty());
    return rows[0];
  };
  CHECK(answer("8")["answer"] == "exact");
  CHECK(answer("8")["variant"] == "separate/unfused/slot/staged/stream");
  CHECK(answer("9")["answer"] == "interpolated");
  CHECK(answer("9")["why"] == "between tokens=8 and 32");
  CHECK(answer("20")["variant"] == "separate/unfused/mlp/staged/stream");
  CHECK(answer("8", {"--routing", "zipf(1.2)"})["answer"] == "interpolated");
  CHECK(answer("129")["answer"] == "default");
  CHECK(answer("129")["variant"] == "separate/unfused/mlp/staged/stream");
  CHECK(at.ask({"--tokens", "8"}).exit_code == 0);
  CHECK(contains(at.ask({"--tokens", "8"}).out, "exact: measured at tokens=8 uniform"));
  CHECK(at.ask({"--tokens", "129"}).exit_code == 1);
}

TEST_CASE(
    "B32: db dispatch --tokens: stale where kernels or compilers are others, default elsewhere") {
  const Folder older([](Environment& e) { e.git_revision = "0123abc"; });
  const Result revision = older.ask({"--tokens", "8"});
  CHECK(revision.exit_code == 1);
  CHECK(contains(revision.out, "stale: measured by fselab 0123abc, this is "));
  CHECK(contains(revision.out, "variant: separate/unfused/mlp/staged/stream"));
  const Folder compiler([](Environment& e) { e.compiler = "g++ 1"; });
  CHECK(contains(compiler.ask({"--tokens", "8"}).out, "stale: measured with 'g++ 1', here is '"));
  const Folder other([](Environment& e) { e.device.product = "Another CPU"; });
  CHECK(contains(other.ask({"--tokens", "8"}).out, "default: measured on Another CPU ("));
  const Folder gpu([](Environment& e) {
    e.device.name = "hip:63";
    e.compiler += "; nvrtc";
  });
  const Result away = gpu.ask({"--tokens", "8"});
  CHECK(away.exit_code == 0);
  CHECK(contains(away.out, "exact: measured at tokens=8 uniform; hip:63 is not here, so"));
}

TEST_CASE("db dispatch: no tile is given for token counts at which it cannot run") {
  const TemporaryFolder folder;
  // dense: column c is token c, so that no more tokens fit than the tile is wide.
  fill_gpu(folder / "d.db", "MI300X", "qwen3-next-80b-a3b", [](int tokens) {
    return std::string("dependent=0 robin=1 warps=8 split=8 ring=2 rows=16 width=16 ") +
           (tokens <= 16 ? "dense=1" : "dense=0");
  });
  const auto stage1 = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"db", "dispatch", "--db", "d.db", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    nlohmann::json rows;
    for (const auto& row : nlohmann::json::parse(fselab(folder.path(), words).out))
      if (row["step"] == "grouped_stage1") rows.push_back(row);
    return rows;
  };
  const nlohmann::json tiles = stage1({"--tiles"});
  REQUIRE(tiles.size() == 2);
  CHECK(contains(tiles[0]["tile"], "dense=1"));
  CHECK(tiles[0]["tokens_to"] == 16);  // not 31, halfway to the next measured one
  CHECK(tiles[1]["tokens_from"] == 17);
  CHECK(tiles[1]["tokens_to"] == 64);
  CHECK(contains(stage1({"--tokens", "12"})[0]["tile"], "dense=1"));
  CHECK(contains(stage1({"--tokens", "20"})[0]["tile"], "dense=0"));
}

TEST_CASE("db dispatch: mistakes are one clear error") {
  const Folder at;
  CHECK(at.ask({"model=none"}).exit_code == 2);
  CHECK(contains(at.ask({"model=none"}).err, "no layer that was measured and is right"));
  CHECK(contains(at.ask({"--regret", "two"}).err, "--regret 'two', expected a percentage"));
  CHECK(at.ask({"--tokens", "0"}).exit_code == 2);
  CHECK(at.ask({"--routing", "uniform"}).exit_code == 2);
  {
    MeasuredStudy more(at.folder / "d.db", [](Environment& e) { e.git_revision = "0123abc"; });
    fill_crossing(more);
    more.write("again");
  }
  const Result several = at.ask({"--tokens", "8"});
  CHECK(several.exit_code == 2);
  CHECK(contains(several.err, "expected conditions that hold for one"));
  CHECK(at.ask({"--tokens", "8", "environment=1"}).exit_code == 0);
}

}  // namespace fse::test
