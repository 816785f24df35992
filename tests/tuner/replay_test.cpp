#include "tuner/replay.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <fstream>
#include <set>

#include "core/error.h"
#include "kernels/gpu/layer.h"
#include "small_layer.h"
#include "tests/temporary_folder.h"
#include "tuner/record.h"
#include "tuner/tune.h"

using namespace fse;

namespace {

const DeviceInfo kDevice{.name = "cpu",
                         .kind = "cpu",
                         .arch = "TEST",
                         .compute_units = 2,
                         .memory_bytes = int64_t{1} << 30,
                         .llc_bytes = 1 << 20,
                         .dtypes = {DType::f32}};

// Every step of a layer, made up: tile i of a step takes 100 + 10 i us, the third 50 us, and the
// fourth of grouped_stage1 is wrong.
struct Recording {
  test::TemporaryFolder folder;
  Case spec{.layer = small_layer(), .tokens = 3};
  LayerPlan plan = make_plan(spec.layer, measured_shard(spec.layer, 1), {}, 3, kDevice);

  RecordedStep of(const Step& step) const {
    RecordedStep recorded{.device = kDevice, .read_gbs = 10, .peak_gflops = 20, .spec = spec};
    recorded.step = step.name;
    for (const Choice& choice : candidates(plan, step, kDevice, {})) {
      const size_t i = recorded.tiles.size();
      const double us = i == 2 ? 50 : 100 + 10 * static_cast<double>(i);
      Outcome outcome{.status = Status::measured,
                      .accuracy = {.rel_frobenius = 1e-7, .bound = 1e-5},
                      .samples_us = {us, us + 1, us + 2, us, us + 1, us + 2}};
      if (i == 3 && step.op == Op::grouped_stage1)
        outcome = {.status = Status::wrong, .reason = "h[0,0] = 1, expected 2"};
      recorded.tiles.push_back({choice.kernel->name, to_text(choice.tile), outcome});
    }
    return recorded;
  }
  void write_all() {
    for (const Step& step : plan.steps)
      write_recorded_step(of(step), folder / (step.name + ".jsonl.gz"));
  }
  const Step& stage1() const {
    return *std::find_if(plan.steps.begin(), plan.steps.end(),
                         [](const Step& s) { return s.op == Op::grouped_stage1; });
  }
};

void write_gzip(const std::filesystem::path& file, const std::string& text) {
  gzFile gzip = gzopen(file.c_str(), "wb");
  gzwrite(gzip, text.data(), static_cast<unsigned>(text.size()));
  gzclose(gzip);
}

}  // namespace

TEST_CASE("a recorded step comes back as it was written, and becomes a space") {
  Recording recording;
  const RecordedStep written = recording.of(recording.stage1());
  write_recorded_step(written, recording.folder / "s.jsonl.gz");
  const RecordedStep read = read_recorded_step(recording.folder / "s.jsonl.gz");
  REQUIRE(read.tiles.size() == written.tiles.size());
  CHECK(canonical_text(read.spec) == canonical_text(written.spec));
  CHECK(read.step == written.step);
  CHECK(read.device.arch == "TEST");
  CHECK(read.tiles[2].outcome.samples_us == written.tiles[2].outcome.samples_us);
  CHECK(read.tiles[3].outcome.reason == "h[0,0] = 1, expected 2");
  const RecordedSpace space = space_of(read);
  CHECK(space.space.points.size() == read.tiles.size());
  CHECK(space.times_us[2] == 51);
  CHECK(std::isnan(space.times_us[3]));
}

TEST_CASE("a replayed device answers as it was recorded, and a search on it finds the best") {
  Recording recording;
  recording.write_all();
  const auto bench = open_replay(recording.folder.path());
  CHECK(bench->device().name == "replay:" + recording.folder.path().string());
  CHECK(bench->measure_read_gbs() == 10);
  bench->set_workload({.spec = recording.spec, .rounds = 5});
  CHECK(bench->inputs() == 5);
  const auto layer = bench->open({});
  const auto defaults = default_choices(recording.plan, kDevice);
  CHECK(layer->verify(defaults).ok());
  const RunTimes times = layer->run(defaults, 1, 0);
  CHECK(times.step_us.size() == recording.plan.steps.size());
  CHECK(times.step_us[0] == 101);
  CHECK(layer->load(defaults, 0).pairs() == 6);

  Store store = Store::create_or_open(recording.folder / "r.db");
  Ledger ledger{.store = store};
  ledger.environment =
      store.add_environment({.device = bench->device(), .read_gbs = 10, .peak_gflops = 20});
  ledger.study = store.add_study({.name = "replay", .plan_hash = "0"}, {});
  ledger.read_gbs = ledger.peak_gflops = 10;
  std::map<Status, int> ends;
  const TuneControl control{.progress = [&](const AttemptRecord& a) { ++ends[a.outcome.status]; }};
  const auto place = static_cast<size_t>(&recording.stage1() - recording.plan.steps.data());
  const auto step = layer->open_step(place, defaults);
  const Choice best = tune_step(*step, recording.plan, recording.stage1(), bench->device(),
                                {.strategy = Strategy::exhaustive}, ledger, control);
  const RecordedStep recorded = recording.of(recording.stage1());
  CHECK(to_text(best.tile) == recorded.tiles[2].tile);
  CHECK(ends[Status::wrong] == 1);
}

TEST_CASE("what was not recorded is said by its key") {
  Recording recording;
  write_recorded_step(recording.of(recording.stage1()), recording.folder / "s.jsonl.gz");
  const auto bench = open_replay(recording.folder.path());
  bench->set_workload({.spec = recording.spec});
  CHECK_THROWS_WITH_AS(bench->open({}), doctest::Contains("nothing was recorded of gate_gemm"),
                       AttemptError);
}

TEST_CASE("recordings that are damaged, mixed or missing give one error that says which") {
  Recording recording;
  const auto folder = recording.folder.path();
  CHECK_THROWS_WITH_AS(open_replay(folder), doctest::Contains("no recordings there"), Error);
  RecordedStep recorded = recording.of(recording.stage1());
  write_recorded_step(recorded, folder / "a.jsonl.gz");
  recorded.device.arch = "OTHER";
  write_recorded_step(recorded, folder / "b.jsonl.gz");
  CHECK_THROWS_WITH_AS(open_replay(folder), doctest::Contains("b.jsonl.gz: is of "), Error);

  recorded.tiles[1].kernel = "cpu.gone";
  write_recorded_step(recorded, folder / "b.jsonl.gz");
  CHECK_THROWS_WITH_AS(read_recorded_step(folder / "b.jsonl.gz"),
                       doctest::Contains("b.jsonl.gz:3: kernel 'cpu.gone'"), Error);
  recorded.step = "gone";
  write_recorded_step(recorded, folder / "b.jsonl.gz");
  CHECK_THROWS_AS(read_recorded_step(folder / "b.jsonl.gz"), Error);
  for (const char* text : {"", "{}\n", "[1]\n", "no json\n", "{\"device\": 1}\n"}) {
    CAPTURE(text);
    write_gzip(folder / "b.jsonl.gz", text);
    CHECK_THROWS_WITH_AS(read_recorded_step(folder / "b.jsonl.gz"), doctest::Contains("b.jsonl.gz"),
                         Error);
  }
  std::filesystem::resize_file(folder / "a.jsonl.gz",
                               std::filesystem::file_size(folder / "a.jsonl.gz") / 2);
  CHECK_THROWS_WITH_AS(read_recorded_step(folder / "a.jsonl.gz"), doctest::Contains("a.jsonl.gz"),
                       Error);
}

TEST_CASE("a recording holds the default and at most so many tiles, the same ones every time") {
  Recording recording;
  const auto all = candidates(recording.plan, recording.stage1(), kDevice, {});
  const auto names = [&](int most, uint64_t seed) {
    std::vector<std::string> tiles;
    for (const Choice& choice : recorded_choices(all, most, seed)) tiles.push_back(to_text(choice));
    return tiles;
  };
  CHECK(names(2000, 1).size() == all.size());
  const auto few = names(5, 1);
  CHECK(few.size() == 5);
  CHECK(few[0] == to_text(all[0]));
  CHECK(names(5, 1) == few);
  CHECK(names(5, 2) != few);
}

TEST_CASE("a recording that was stopped goes on where it ended, and is then the same") {
  Recording recording;
  recording.write_all();
  const auto bench = open_replay(recording.folder.path());
  bench->set_workload({.spec = recording.spec});
  const auto layer = bench->open({});
  const auto place = static_cast<size_t>(&recording.stage1() - recording.plan.steps.data());
  const auto step = layer->open_step(place, {});
  const auto all = candidates(recording.plan, recording.stage1(), kDevice, {});
  const auto names = [](const std::vector<RecordedTile>& tiles) {
    std::vector<std::string> texts;
    for (const RecordedTile& tile : tiles) texts.push_back(tile.kernel + " " + tile.tile);
    return texts;
  };
  const auto whole = record_tiles(*step, all, {});
  REQUIRE(whole.size() == all.size());
  CHECK(whole[1].outcome.samples_us.size() == 7);

  int asked = 0;
  size_t compiled = 0;
  const auto begun = record_tiles(*step, all,
                                  {.stop = [&] { return ++asked > 3; },
                                   .before_compiling = [&](size_t count) { compiled = count; }});
  REQUIRE(begun.size() == 3);
  CHECK(compiled == std::min<size_t>(64, all.size()));
  const auto missing = missing_choices(all, begun);
  CHECK(missing.size() == all.size() - 3);
  auto both = record_tiles(*step, missing, {});
  both.insert(both.end(), begun.begin(), begun.end());
  CHECK(names(in_order_of(all, both)) == names(whole));
  CHECK(missing_choices(all, both).empty());
}

TEST_CASE("a recorded tile whose kernel has other axes by now is a point without a prediction") {
  RecordedStep recorded{.device = typical_gpu("sm_90"),
                        .spec = {.layer = small_layer(), .tokens = 3},
                        .step = "grouped_stage1"};
  recorded.spec.layer.dtype = DType::bf16;
  const LayerPlan plan = make_plan(recorded.spec, recorded.device);
  const auto stage1 = std::find_if(plan.steps.begin(), plan.steps.end(),
                                   [](const Step& step) { return step.op == Op::grouped_stage1; });
  for (const Choice& choice : candidates(plan, *stage1, recorded.device, {}))
    recorded.tiles.push_back({choice.kernel->name, to_text(choice.tile), {}});
  REQUIRE(recorded.tiles.size() > 100);
  CHECK(space_of(recorded).space.predicted_us.size() == recorded.tiles.size());
  recorded.tiles[7].tile += " gone=1";
  const SearchSpace space = space_of(recorded).space;
  CHECK(space.predicted_us.empty());
  CHECK(space.points.size() == recorded.tiles.size());
  CHECK(std::count(space.axes.begin(), space.axes.end(), "gone") == 1);
}
