#include "reports/compare.h"

#include <doctest/doctest.h>

#include "tests/reports/synthetic.h"

using namespace fse;
using namespace fse::test;

namespace {

struct Filled {
  TemporaryFolder folder;
  SyntheticStudy s{folder / "all.db"};
  Filled() { fill_realistic(s); }
  Pairs pairs(const std::string& a, const std::string& b) const {
    return match_pairs(s.store, a, s.store, b);
  }
};

}  // namespace

TEST_CASE("selections are compared like with like") {
  const Filled filled;
  const Pairs pairs = filled.pairs("variant.shared=mlp", "variant.shared=slot");
  CHECK(pairs.all.size() == 8 + 8 + 7);  // minus the failed one and GLM's refused ones
  CHECK(pairs.all.size() + static_cast<size_t>(pairs.only_candidate) == 24);
  for (const Pair& p : pairs.all) {
    const bool many = p.key[4] == "64";
    CAPTURE(p.key[4]);
    CHECK((p.comparison.verdict == Verdict::slower) == many);
  }
  CHECK(contains(to_markdown(pairs), "## Where it loses"));
}

TEST_CASE("a study against itself differs in nothing") {
  const Filled filled;
  for (const Pair& p : filled.pairs("qwen3-next-decode", "qwen3-next-decode").all)
    CHECK(p.comparison.ratio.median == 1);
}

TEST_CASE("the gate takes certain regressions only") {
  CHECK(parse_gate("layer_time_us<=+3%") == doctest::Approx(1.03));
  CHECK(parse_gate("layer_time_us<=-1.5%") == doctest::Approx(0.985));
  for (const char* bad : {"", "layer_time_us", "layer_time_us<=", "layer_time_us<=3", "x<=3%"})
    CHECK(contains(error_of([&] { parse_gate(bad); }), "expected layer_time_us<=+3%"));
  const Filled filled;
  const Pairs pairs = filled.pairs("variant.shared=mlp", "variant.shared=slot");
  size_t broken = 0;
  for (const Pair& p : pairs.all) broken += breaks_gate(p, 1.01);
  CHECK(broken == 5);  // tokens=64: three of Qwen's four (one failed) and GLM's two
  const std::string xml = to_junit(pairs, 1.01);
  CHECK(contains(xml, "failures=\"5\""));
}

TEST_CASE("JUnit stays well-formed whatever names hold") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "hostile.db");
  Case base = sample_case();
  base.layer.model = "<a href=\"x\">&amp;]]>\x01\n\xff'";
  Case slot = with(base, {Gate::fused, Topk::fused, Shared::slot}, base.tokens);
  s.add(base, true);
  s.add(slot);
  s.store_study();
  s.measure(base, 100);
  s.measure(slot, 150);
  const std::string xml =
      to_junit(match_pairs(s.store, "variant=separate/unfused/mlp/staged/stream", s.store,
                           "variant=fused/fused/slot/staged/stream"),
               1.03);
  REQUIRE(contains(xml, "tests=\"1\" failures=\"1\""));
  for (const char* raw : {"<a href", "&amp;]]>\x01", "\x01", "]]>\n"}) {
    CAPTURE(raw);
    CHECK_FALSE(contains(xml, raw));
  }
  CHECK(contains(xml, "&lt;a href=&quot;x&quot;&gt;&amp;amp;"));
}

TEST_CASE("a pair without an interval breaks every gate") {
  const TemporaryFolder folder;
  SyntheticStudy s(folder / "few.db");
  const Case base = sample_case();
  const Case slot = with(base, {Gate::separate, Topk::unfused, Shared::slot}, base.tokens);
  s.add(base, true);
  s.add(slot);
  s.store_study();
  s.measure(base, 100, 3);
  s.measure(slot, 50, 3);  // half the time, by three rounds: that is not known
  const Pairs pairs = match_pairs(s.store, "shared=mlp", s.store, "shared=slot");
  REQUIRE(pairs.all.size() == 1);
  CHECK(pairs.all[0].comparison.verdict == Verdict::invalid);
  CHECK(breaks_gate(pairs.all[0], 2.0));
}

TEST_CASE("a comparison states what a layer shows against itself") {
  const Filled filled;
  const Pairs pairs = filled.pairs("variant.shared=mlp", "variant.shared=slot");
  CHECK(pairs.floor.controls == 0);  // of halves, without a race against itself
  CHECK(pairs.floor.change > 0);
  CHECK(pairs.floor.change < 0.01);
  CHECK(
      contains(to_markdown(pairs), "A/A floor: even and odd rounds of one layer differ by up to"));
  CHECK_FALSE(contains(to_markdown(filled.pairs("model=none", "model=nothing")), "A/A floor"));
}

TEST_CASE("what is simulated is a baseline without samples") {
  const Filled filled;
  const auto predict = [](const Case& c) -> std::optional<Summary> {
    if (c.tokens == 64) return {};
    return Summary{.median = c.tokens == 1 ? 1.0 : 1e6,
                   .lo = c.tokens == 1 ? 0.9 : 9e5,
                   .hi = c.tokens == 1 ? 1.1 : 1.1e6};
  };
  const Pairs pairs = match_simulated(filled.s.store, "model=qwen3-next", predict);
  CHECK(pairs.all.size() == 36);
  CHECK(pairs.only_candidate == 11);  // tokens=64, one of which failed
  for (const Pair& p : pairs.all) {
    const bool one = p.key[4] == "1";
    CHECK(p.comparison.verdict == (one ? Verdict::slower : Verdict::faster));
  }
  const Grid grid = to_grid(pairs);
  CHECK(std::get<std::string>(grid.rows[0][pairs.key_columns.size()]) == "simulated");
  CHECK(contains(to_markdown(pairs), "by the intervals of prediction (90 %)"));
}
