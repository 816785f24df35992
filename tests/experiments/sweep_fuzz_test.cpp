#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <string>

#include "core/error.h"
#include "experiments/sweep.h"

namespace fse {
namespace {

const std::string kSweep = R"(# a sweep with every construct
study: "fuzz"
models: [a, ./b/config.json, {name: c, tp: [4]}]
device: cpu
dtypes: [bf16, fp8_block128]
tokens: [1, pow2(1, 64), range(8, 64, 8)]
routing: [uniform, zipf(1.2), dirichlet(0.3)]
variants:
  gate: [separate, fused]
  shared: [mlp, slot]
baseline: {gate: separate, topk: unfused}
tune: {strategy: auto, budget: 60s}
tiles: {grouped_stage1: {rows: [8, 16]}}
measure: {cache: cold_weights, interval: 2%}
)";

// Either a sweep or one usage error; anything else (another exception, a crash) fails the property.
bool parses_or_explains(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    const SweepSpec spec = parse_sweep(text, "f.yaml", overrides);
    return !spec.models.empty() && !spec.tokens.empty();
  } catch (const Error& error) {
    const std::string what = error.what();
    return error.kind == ErrorKind::usage && !what.empty() &&
           (what.starts_with("f.yaml:") || what.starts_with("override '"));
  }
}

const std::vector<std::string> kPieces{"[",
                                       "]",
                                       "{",
                                       "}",
                                       ",",
                                       ":",
                                       ": ",
                                       "\n",
                                       "  ",
                                       "- ",
                                       "? ",
                                       "&a",
                                       "*a",
                                       "!",
                                       "!!x ",
                                       "|",
                                       ">",
                                       "'",
                                       "\"",
                                       "#",
                                       "%",
                                       "---",
                                       "...",
                                       "<<",
                                       "~",
                                       "\t",
                                       "\r",
                                       "\xff",
                                       "\xef\xbb\xbf",
                                       "(",
                                       ")",
                                       "pow2(",
                                       "-1",
                                       "1e9",
                                       "99999999999999999999",
                                       "@",
                                       "`",
                                       "\\",
                                       "\u2028"};

std::string mutate(std::string text, const std::vector<std::pair<unsigned, unsigned>>& edits) {
  for (const auto& [place, what] : edits) {
    const size_t at = text.empty() ? 0 : place % (text.size() + 1);
    if (what % 3 == 0) text.insert(at, kPieces[what / 3 % kPieces.size()]);
    if (what % 3 == 1) text.erase(at, what / 3 % 20);
    if (what % 3 == 2 && at < text.size()) text.insert(at, text.substr(at, what / 3 % 30));
  }
  return text;
}

TEST_CASE("a damaged sweep is read or explained, never a crash") {
  CHECK(rc::check([](const std::vector<std::pair<unsigned, unsigned>>& edits) {
    RC_ASSERT(parses_or_explains(mutate(kSweep, edits)));
  }));
}

TEST_CASE("a damaged override is read or explained") {
  CHECK(rc::check([](const std::vector<std::pair<unsigned, unsigned>>& edits) {
    RC_ASSERT(parses_or_explains(kSweep, {mutate("tokens=[1, pow2(1, 64)]", edits)}));
    RC_ASSERT(parses_or_explains(kSweep, {mutate("models={name: c, tp: [4]}", edits)}));
  }));
}

TEST_CASE("what an override leaves is a sweep that reads the same") {
  CHECK(rc::check([](const std::vector<std::pair<unsigned, unsigned>>& edits) {
    const std::string text = mutate(kSweep, edits);
    SweepSpec spec;
    try {
      spec = parse_sweep(text, "f.yaml", {"seeds=7"});
    } catch (const Error&) {
      return;
    }
    const SweepSpec again = parse_sweep(spec.yaml_text, "f.yaml", {});
    RC_ASSERT(again.study == spec.study);
    RC_ASSERT(again.tokens == spec.tokens);
    RC_ASSERT(again.models.size() == spec.models.size());
    for (size_t i = 0; i < spec.models.size(); ++i)
      RC_ASSERT(again.models[i].name == spec.models[i].name);
    RC_ASSERT(again.routing == spec.routing);
    RC_ASSERT(again.seeds == std::vector<uint64_t>{7});
  }));
}

TEST_CASE("hostile nesting ends in an error, not in a stack overflow") {
  CHECK(parses_or_explains("tokens: " + std::string(100000, '[')));
  CHECK(parses_or_explains("tokens: " + std::string(100000, '{')));
  CHECK(parses_or_explains(std::string(20000, '-')));
  std::string dashes;
  for (int i = 0; i < 10000; ++i) dashes += "- ";
  CHECK(parses_or_explains(dashes));
  CHECK(parses_or_explains("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n"));
}

}  // namespace
}  // namespace fse
