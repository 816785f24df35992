#include "reports/markdown.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <sstream>

#include "reports/table.h"
#include "tests/reports/synthetic.h"

using namespace fse;
using namespace fse::test;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

// Cells of a table row, by unescaped pipes.
size_t cells(const std::string& line) {
  size_t pipes = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\\')
      ++i;
    else
      pipes += line[i] == '|';
  }
  return pipes - 1;
}

// Every block of lines that begin with a pipe has as many cells in each line as its title.
bool tables_are_whole(const std::string& markdown) {
  size_t columns = 0;
  for (const std::string& line : lines_of(markdown)) {
    if (!line.starts_with('|')) {
      columns = 0;
      continue;
    }
    if (columns == 0) columns = cells(line);
    if (cells(line) != columns || !line.ends_with('|')) return false;
  }
  return true;
}

// The cells, without padding, of the first table row that begins with `cell` and a space.
std::vector<std::string> row_of(const std::string& text, const std::string& cell) {
  std::string found = "|";
  for (const std::string& line : lines_of(text))
    if (found == "|" && line.starts_with("| " + cell + " ")) found = line;
  std::vector<std::string> row;
  std::istringstream in(found.substr(1));
  for (std::string field; std::getline(in, field, '|');) {
    const size_t begin = field.find_first_not_of(' ');
    if (begin == std::string::npos)
      row.emplace_back();
    else
      row.push_back(field.substr(begin, field.find_last_not_of(' ') - begin + 1));
  }
  return row;
}

struct OneWorkload {
  TemporaryFolder folder;
  SyntheticStudy s{folder / "one.db"};
  Case baseline = sample_case(Shared::mlp);
  Case slot = with(baseline, {Gate::fused, Topk::fused, Shared::slot}, 4);

  explicit OneWorkload(double slot_us, int slot_rounds = 25) {
    s.add(baseline, true);
    s.add(slot);
    s.store_study();
    s.measure(baseline, 2384);
    s.measure(slot, slot_us, slot_rounds);
  }
  std::string markdown() const { return to_markdown(load_report(s.store)); }
};

}  // namespace

TEST_CASE("the headline says what is fastest, by how much, against what") {
  const std::string text = OneWorkload(2310).markdown();
  const std::string head = lines_of(text)[2];
  CAPTURE(head);
  CHECK(contains(head,
                 "Fastest at tokens=4 on qwen3-next-80b-a3b bf16: **fused/fused/slot**, "
                 "2310 us ["));
  CHECK(contains(head, "3.1 % (74 us) below the baseline separate/unfused/mlp, 2384 us ["));
  CHECK(contains(head, "(FASTER)"));
  CHECK_FALSE(contains(text, "## Summary"));  // there is only one workload
}

TEST_CASE("a row holds time, interval, change, verdict, floor and accuracy beside its bound") {
  const OneWorkload one(2310);
  const std::vector<std::string> want = {
      "fused/fused/slot", "2310",   "[2296, 2322]", "25",      "-3.1",   "[-3.1, -3.1]", "-74",
      "FASTER",           "rounds", "1.11",         "1.3e-03", "4.0e-03"};
  CHECK(row_of(one.markdown(), "fused/fused/slot") == want);
  CHECK(row_of(one.markdown(), "separate/unfused/mlp")[7] == "baseline");
}

TEST_CASE("verdicts and how they were found") {
  const auto verdict = [](double us, int rounds) {
    const auto row = row_of(OneWorkload(us, rounds).markdown(), "fused/fused/slot");
    return row[7] + " by " + row[8];
  };
  CHECK(verdict(2310, 25) == "FASTER by rounds");
  CHECK(verdict(2460, 25) == "SLOWER by rounds");
  CHECK(verdict(2384, 25) == "SAME by rounds");
  CHECK(verdict(2250, 31) == "FASTER by intervals");
  CHECK(verdict(2384, 31) == "UNDECIDED by intervals");
  CHECK(verdict(2000, 5) == "INVALID by intervals");
  CHECK(contains(OneWorkload(2000, 5).markdown(), "n too small (need 6)"));
}

TEST_CASE("the steps show where the microseconds go, replaced ones beside each other") {
  const std::string text = OneWorkload(2310).markdown();
  const size_t select = text.find("\n| renormalize"), topk = text.find("\n| topk"),
               dispatch = text.find("\n| dispatch");
  CHECK(select < topk);
  CHECK(topk < dispatch);
  CHECK(row_of(text, "mlp_stage1") == std::vector<std::string>{"mlp_stage1", "47.8", "-", "-47.8"});
  CHECK(row_of(text, "**layer**") ==
        std::vector<std::string>{"**layer**", "2384.0", "2310.0", "-74.0"});
  CHECK(contains(text, "rows=4 cols=8 depth=512"));
}

TEST_CASE("a baseline that leaves axes open is compared like with like") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "like.db");
  // The sweep's baseline names shared=mlp only: topk is free, each variant meets its own kind.
  const auto variant = [](Topk topk, Shared shared) {
    return with(sample_case(), {Gate::separate, topk, shared}, 4);
  };
  for (const Topk topk : {Topk::unfused, Topk::fused})
    for (const Shared shared : {Shared::slot, Shared::mlp})
      s.add(variant(topk, shared), shared == Shared::mlp);
  s.store_study();
  s.measure(variant(Topk::unfused, Shared::mlp), 2000);
  s.measure(variant(Topk::fused, Shared::mlp), 1000);
  s.measure(variant(Topk::unfused, Shared::slot), 1800);
  s.measure(variant(Topk::fused, Shared::slot), 950);
  const std::string text = to_markdown(load_report(s.store));
  const auto unfused = row_of(text, "separate/unfused/slot");
  CHECK(unfused[1] == "separate/unfused/mlp");
  CHECK(unfused[5] == "-10.0");
  const auto fused = row_of(text, "separate/fused/slot");
  CHECK(fused[1] == "separate/fused/mlp");
  CHECK(fused[5] == "-5.0");
  CHECK(contains(lines_of(text)[2], "5.0 % (50.0 us) below the baseline separate/fused/mlp"));
}

TEST_CASE("of equally close baselines the fastest is the one to beat") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "close.db");
  s.add(sample_case(Shared::mlp), true);
  s.add(sample_case(Shared::mlp_overlapped), true);
  s.add(sample_case(Shared::slot));
  s.store_study();
  s.measure(sample_case(Shared::mlp), 2000);
  s.measure(sample_case(Shared::mlp_overlapped), 1900);
  s.measure(sample_case(Shared::slot), 1880);
  const auto row = row_of(to_markdown(load_report(s.store)), "separate/unfused/slot");
  CHECK(row[1] == "separate/unfused/mlp_overlapped");
  CHECK(row[5] == "-1.1");
}

TEST_CASE("a failed baseline makes its comparisons INVALID, and its reason is told") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "failed.db");
  const Case slot = sample_case(Shared::slot);
  s.add(sample_case(), true);
  s.add(slot);
  s.add(sample_case(Shared::mlp_overlapped), false, CaseState::refused, "refused: one | thread");
  s.store_study();
  s.store.set_case_state(s.study, case_id(sample_case()), CaseState::failed, "wrong: out[0,0]");
  s.measure(slot, 100);
  const std::string text = to_markdown(load_report(s.store));
  CHECK(row_of(text, "separate/unfused/slot")[7] == "INVALID");
  CHECK(contains(lines_of(text)[2], "its baseline has no result (INVALID)"));
  CHECK(contains(text, "| wrong: out[0,0]"));
  CHECK(contains(text, "refused: one \\| thread"));
  CHECK(tables_are_whole(text));
}

TEST_CASE("the break-even of the slot names the token counts") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "even.db");
  const auto at = [](Shared shared, int tokens) { return sample_case(shared, tokens); };
  const std::map<int, double> slot_us = {{1, 900}, {4, 950}, {16, 1000}, {64, 1100}};
  for (const auto& [tokens, us] : slot_us) {
    s.add(at(Shared::mlp, tokens), true);
    s.add(at(Shared::slot, tokens));
  }
  s.store_study();
  for (const auto& [tokens, us] : slot_us) {
    s.measure(at(Shared::mlp, tokens), 1000);
    s.measure(at(Shared::slot, tokens), us == 1000 ? 1000.001 : us);
  }
  const std::string text = to_markdown(load_report(s.store));
  CHECK(contains(text, "FASTER at tokens=1 to 4, SAME at tokens=16, SLOWER at tokens=64."));
  CHECK(contains(text, "The medians cross near tokens=16 (interpolated between 4 and 16)"));
  CHECK(contains(text, "In 2 of 4 workloads a variant is FASTER than the baseline"));
}

TEST_CASE("where the numbers come from, and how to get them again") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "all.db");
  fill_realistic(s);
  const std::string text = to_markdown(load_report(s.store));
  CHECK(tables_are_whole(text));
  for (const char* part :
       {"20.5 GB/s", "100.0 GFLOP/s", "g++ 12.2.0 -O3", "0123abc", "00ff", "Some CPU",
        "71 done, 1 failed, 24 refused", "3 step illegal", "depth=4096 does not divide hidden=2048",
        "```sh\nfselab run decode.yaml --db decode.db\n```", "```yaml\nstudy: decode\n```",
        "## qwen3-next-80b-a3b bf16 tp=1 routing=uniform cache=cold_weights",
        "## glm-4.7 bf16 tp=4"}) {
    CAPTURE(part);
    CHECK(contains(text, part));
  }
  CHECK(contains(text, "| fused/fused/mlp | failed | 64     | wrong: out[3,17] = nan"));
  CHECK(contains(to_summary(load_report(s.store)), "## Summary"));
}

TEST_CASE("an unfinished study and an empty database say so; an unknown one is a usage error") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "young.db");
  CHECK(contains(to_markdown(load_report(s.store)), "The database holds no study yet"));
  CHECK(contains(error_of([&] { load_report(s.store, "other"); }), "2: "));
  s.add(sample_case(), true);
  s.store_study();
  const std::string text = to_markdown(load_report(s.store));
  CHECK(contains(text, "Nothing was measured."));
  CHECK(contains(text, "**Incomplete**: 1 case"));
  CHECK(contains(error_of([&] { load_report(s.store, "other"); }),
                 "no study 'other', expected a name, an id in brackets or the begin of a plan "
                 "hash: qwen3-next-decode (1)"));
  CHECK(load_report(s.store, "1").study_id == 1);
  CHECK(load_report(s.store, "qwen3-next-decode").study.name == "qwen3-next-decode");
}

TEST_CASE("hostile names never break a table") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "hostile.db");
  const std::string evil = "a|b`c\n| d | <script>alert(1)</script> \\| [x](http://e) ![i](j) \xff";
  Case base = sample_case();
  base.layer.model = evil;
  s.add(base, true);
  s.add(with(base, {Gate::fused, Topk::fused, Shared::slot}, 4), false, CaseState::failed, evil);
  StudyRecord record = sample_study(evil);
  record.command = "fselab run '```\n# x'";
  s.store_study(record);
  s.measure(base, 100);
  const std::string text = to_markdown(load_report(s.store));
  CHECK(tables_are_whole(text));
  CHECK_FALSE(contains(text, "<script>"));
  CHECK_FALSE(contains(text, "](http"));
  CHECK(contains(text, "````sh\nfselab run '```\n# x'\n````"));
}

TEST_CASE("any text stays in its cell") {
  CHECK(rc::check([](const std::string& a, const std::string& b) {
    return tables_are_whole(to_markdown(
        Table{{"<name", "value"}, {{escape_markdown(a), escape_markdown(b)}, {"x", "1"}}}));
  }));
}

TEST_CASE("numbers keep about four digits and never say -0") {
  CHECK(number(2310.4, decimals_for(2310.4)) == "2310");
  CHECK(number(231.04, decimals_for(231.04)) == "231.0");
  CHECK(number(3.14159, decimals_for(3.14159)) == "3.142");
  CHECK(number(-0.001, 1) == "0.0");
  CHECK(signed_number(0.001, 1) == "0.0");
  CHECK(signed_number(5, 0) == "+5");
  CHECK(number(std::nan(""), 1) == "-");
}
