#include "experiments/certificate.h"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "experiments/verify_certificate.h"
#include "tests/experiments/command.h"

namespace fse::test {
namespace {

// Two variants of a tiny layer at three token counts, whose times are made from kernels and tiles:
// the same on every machine, and every time.
struct Certified {
  TemporaryFolder folder;
  Certified() {
    write_text(folder / "config.json", kTinyConfig);
    write_text(folder / "tiny.yaml",
               "study: tiny\nmodels: ./config.json\ntokens: [1, 2, 3]\n"
               "device: 'fault:cpu?times=made'\n"
               "variants: {gate: fused, topk: fused, shared: [mlp, slot]}\n"
               "baseline: {shared: mlp}\ntune: {strategy: random, budget: 3}\n"
               "measure: {cache: warm, min_rounds: 6, interval: 50%}\n");
    const Result run = fselab({"run", "tiny.yaml", "--db", "r.db"});
    CAPTURE(run.err);
    REQUIRE(run.exit_code == 0);
    const Result wrote =
        fselab({"db", "export", "w.json", "tokens=2", "--certificate", "--db", "r.db"});
    CAPTURE(wrote.err);
    REQUIRE(wrote.exit_code == 0);
  }
  Result fselab(std::vector<std::string> words) const {
    return fse::test::fselab(folder.path(), std::move(words));
  }
  std::string text() const { return read_text(folder / "w.json"); }
  Certificate read() const { return read_certificate(text(), "w.json"); }
  Result verify(const Certificate& changed, std::vector<std::string> more = {}) const {
    write_text(folder / "changed.json", to_text(changed));
    more.insert(more.begin(), {"verify", "--certificate", "changed.json"});
    return fselab(std::move(more));
  }
};

// One for all tests: none of them changes the database or w.json.
const Certified& certified() {
  static const Certified once;
  return once;
}

}  // namespace

TEST_CASE("a certificate holds the key, the evidence and the range of a winner") {
  const Certified& at = certified();
  const Certificate c = at.read();
  CHECK(c.spec.tokens == 2);
  CHECK(c.case_id == case_id(c.spec));
  CHECK(contains(c.canonical, "routing=uniform\ncache=warm\n"));
  CHECK(c.time_us.n >= 6);
  CHECK(c.rel_frobenius <= c.bound);
  CHECK(c.bound > 0);
  REQUIRE(c.aa_floor);
  CHECK(c.aa_floor->median == doctest::Approx(1));
  CHECK(c.load_histogram.size() >= 8);
  REQUIRE(c.claims.size() == 1);
  CHECK(c.claims[0].paired);
  CHECK(c.claims[0].variant != c.spec.variant);
  CHECK(c.claims[0].time_us.median >= c.time_us.median);
  CHECK(c.valid.from <= 2);
  CHECK(c.valid.to >= 2);
  CHECK(c.valid.regret == 0);
  CHECK(!c.steps.empty());
  CHECK(c.steps[0].tuned_us);
  CHECK(c.rerun == "fselab db rerun " + std::to_string(c.attempt) + " --db r.db");
  CHECK(to_text(c) == at.text());  // read and written again: the same
}

TEST_CASE("verify --certificate: confirmed where the same is measured again") {
  const Certified& at = certified();
  const Result r = at.fselab({"verify", "--certificate", "w.json"});
  CAPTURE(r.out);
  CAPTURE(r.err);
  CHECK(r.exit_code == 0);
  CHECK(contains(r.out, "CONFIRMED: right, and 1 of 1 claims hold again"));
  CHECK(contains(r.out, "A/A floor: 1.0000"));
  CHECK(contains(r.out, "default tiles"));
}

TEST_CASE(
    "verify --certificate: refuted where a claim is decided otherwise or the result is wrong") {
  const Certified& at = certified();
  Certificate c = at.read();
  std::string& against = c.claims[0].against;
  const Verdict truth = c.claims[0].verdict;
  c.claims[0].verdict = truth == Verdict::slower ? Verdict::faster : Verdict::slower;
  const Result otherwise = at.verify(c);
  CHECK(otherwise.exit_code == 1);
  CHECK(contains(otherwise.out, "REFUTED: against the " + against + " it claims "));
  const Result wrong =
      at.verify(at.read(), {"--device", "fault:cpu?times=made&wrong=layer_verify@1"});
  CAPTURE(wrong.out);
  CHECK(wrong.exit_code == 1);
  CHECK(contains(wrong.out, "REFUTED: the winner's result is wrong: "));
}

TEST_CASE("verify --certificate: undecided on another device, without a claim, or where it ends") {
  const Certified& at = certified();
  Certificate c = at.read();
  c.device.product = "Another CPU";
  const Result elsewhere = at.verify(c);
  CHECK(elsewhere.exit_code == 4);
  CHECK(contains(elsewhere.out, "UNDECIDED: another device; here: CONFIRMED"));
  Certificate modest = at.read();
  modest.claims[0].verdict = Verdict::undecided;
  CHECK(contains(at.verify(modest).out, "UNDECIDED: right, but it claims no difference"));
  Certificate gone = at.read();
  gone.steps[0].kernel = "cpu.gone";
  const Result none = at.verify(gone);
  CHECK(none.exit_code == 4);
  CHECK(contains(none.out, "this fselab has no such kernel for"));
  const Result crash =
      at.verify(at.read(), {"--device", "fault:cpu?times=made&abort=layer_verify@1"});
  CHECK(crash.exit_code == 4);
  CHECK(contains(crash.out, "UNDECIDED: the winner did not run: crashed"));
  Certificate old = at.read();
  old.git_revision = "0123abc";
  CHECK(contains(at.verify(old).out, "note: stale: measured by fselab 0123abc"));
}

TEST_CASE("verify --certificate: files that were changed, or are none, are named") {
  const Certified& at = certified();
  const std::string text = at.text();
  const auto error = [&](const std::string& content) {
    write_text(at.folder / "bad.json", content);
    const Result r = at.fselab({"verify", "--certificate", "bad.json"});
    CHECK(r.exit_code == 5);
    CHECK(contains(r.err, "bad.json: "));
    return r.err;
  };
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"tokens\": 2", "\"tokens\": 3"},
           {"\"verdict\": \"", "\"verdict\": \"X"},
           {"\"library\": \"none", "\"library\": \"some"},
           {"\"hash\": \"", "\"hash\": \"0"}}) {
    CAPTURE(from);
    std::string changed = text;
    REQUIRE(contains(text, from));
    changed.replace(changed.find(from), from.size(), to);
    CHECK(contains(error(changed), "bad.json: tampered: its hash is "));
  }
  CHECK(contains(error("{"), "not JSON"));
  CHECK(contains(error("{}"), "no certificate, expected"));
  CHECK(contains(error(R"({"certificate": {}, "certificate": {}})"), "there twice"));
  nlohmann::json file = nlohmann::json::parse(text);
  file["certificate"].erase("bound");
  file["hash"] = hash_text(file["certificate"].dump());
  CHECK(contains(error(file.dump()), "field bound is missing"));
  // Layout alone changes nothing.
  write_text(at.folder / "compact.json", nlohmann::json::parse(text).dump());
  CHECK(at.fselab({"verify", "--certificate", "compact.json"}).exit_code == 0);
}

TEST_CASE("verify --certificate: a hash of one's own does not make the impossible run") {
  const Certified& at = certified();
  const auto exit_code = [&](const std::function<void(Certificate&)>& change) {
    Certificate c = at.read();
    change(c);
    c.case_id = case_id(c.spec);
    c.canonical = canonical_text(c.spec);
    return at.verify(c).exit_code;
  };
  CHECK(exit_code([](Certificate& c) { c.spec.tokens = 0; }) == 5);
  CHECK(exit_code([](Certificate& c) { c.spec.tokens = 1 << 30; }) == 5);
  CHECK(exit_code([](Certificate& c) { c.weight_sets = 1 << 30; }) == 5);
  CHECK(exit_code([](Certificate& c) { c.spec.layer.routing.top_k = 99; }) == 5);
  CHECK(exit_code([](Certificate& c) { c.spec.layer.hidden = 0; }) == 5);
  CHECK(exit_code([](Certificate& c) { c.spec.tp = 0; }) == 5);
  CHECK(exit_code([](Certificate& c) { c.spec.tokens = 1 << 24; }) == 4);  // no memory for it
  CHECK(exit_code([](Certificate& c) { c.spec.variant.experts = Experts::fused; }) == 4);
  CHECK(exit_code([](Certificate& c) { c.steps.clear(); }) == 4);
  CHECK(exit_code([](Certificate& c) { c.steps[0].tile = "rows=1000000"; }) == 4);
  CHECK(exit_code([](Certificate& c) { c.steps[0].tile = "=;"; }) == 5);
  CHECK(exit_code([](Certificate& c) { c.device.name = "hip:63"; }) == 3);
  CHECK(exit_code([](Certificate& c) { c.spec.routing = {.kind = RoutingKind::trace}; }) == 2);
}

TEST_CASE("db export --certificate and verify: mistakes are one clear error") {
  const Certified& at = certified();
  const auto exported = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"db", "export", "x.json", "--certificate", "--db", "r.db"};
    words.insert(words.end(), more.begin(), more.end());
    return at.fselab(words);
  };
  CHECK(contains(exported({}).err, "the winners of 3 workloads are selected"));
  CHECK(exported({}).exit_code == 2);
  CHECK(exported({"model=none"}).exit_code == 2);
  CHECK(exported({"tokens=1", "--as", "vllm"}).exit_code == 2);
  CHECK(at.fselab({"verify"}).exit_code == 2);
  CHECK(at.fselab({"verify", ".", "--certificate", "w.json"}).exit_code == 2);
  CHECK(at.fselab({"verify", "--certificate", "none.json"}).exit_code == 2);
}

TEST_CASE("claims: refuted by any other decision, confirmed by all of them, else undecided") {
  using V = Verdict;
  const auto answer = [](std::vector<CheckedClaim> claims, Verdict control = V::same) {
    return judge_claims(claims, control).answer;
  };
  CHECK(answer({{"a", V::faster, V::faster}}) == CertificateAnswer::confirmed);
  CHECK(answer({{"a", V::same, V::same}, {"b", V::faster, V::faster}}) ==
        CertificateAnswer::confirmed);
  CHECK(answer({{"a", V::faster, V::same}}) == CertificateAnswer::refuted);
  CHECK(answer({{"a", V::faster, V::undecided}, {"b", V::faster, V::slower}}) ==
        CertificateAnswer::refuted);
  CHECK(answer({{"a", V::faster, V::faster}, {"b", V::faster, V::undecided}}) ==
        CertificateAnswer::undecided);
  CHECK(answer({{"a", V::faster, V::invalid}}) == CertificateAnswer::undecided);
  CHECK(answer({{"a", V::undecided, V::slower}}) == CertificateAnswer::undecided);
  CHECK(answer({}) == CertificateAnswer::undecided);
  // A race in which the winner is not as fast as itself decides nothing.
  for (const V control : {V::faster, V::slower}) {
    CHECK(answer({{"a", V::faster, V::faster}}, control) == CertificateAnswer::undecided);
    CHECK(answer({{"a", V::faster, V::slower}}, control) == CertificateAnswer::undecided);
  }
  CHECK(answer({{"a", V::faster, V::faster}}, V::undecided) == CertificateAnswer::confirmed);
}

}  // namespace fse::test
