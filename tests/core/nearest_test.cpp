#include "core/nearest.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

namespace fse {

TEST_CASE("a slip finds the name it meant") {
  const std::vector<std::string> axes{"gate", "topk", "shared", "experts", "launch"};
  CHECK(nearest_name("expert", axes) == "experts");
  CHECK(nearest_name("shraed", axes) == "shared");
  CHECK(nearest_name("Top-K", axes) == "topk");
  CHECK(nearest_name("TOPK", axes) == "topk");
  CHECK(nearest_name("lanch", axes) == "launch");
  CHECK(nearest_name("mpl", {"none", "mlp", "slot"}) == "mlp");
  CHECK(nearest_name("mlp-overlapped", {"mlp", "mlp_overlapped"}) == "mlp_overlapped");
}

TEST_CASE("another word finds nothing") {
  CHECK(nearest_name("colour", {"gate", "topk"}) == "");
  CHECK(nearest_name("x", {"y", "tp"}) == "");
  CHECK(nearest_name("", {"gate"}) == "");
  CHECK(nearest_name("gate", {}) == "");
  CHECK(nearest_name("gate", {""}) == "");
  CHECK(nearest_name(std::string(1 << 20, 'g'), {"gate"}) == "");
}

TEST_CASE("the beginning of a long name finds it, the nearest first") {
  const std::vector<std::string> models{"qwen3-30b-a3b", "qwen3-next-80b-a3b", "kimi-k2"};
  CHECK(nearest_name("qwen3-next", models) == "qwen3-next-80b-a3b");
  CHECK(nearest_name("qwen3-30b", models) == "qwen3-30b-a3b");
  CHECK(nearest_name("qwen3-nxt", models) == "qwen3-next-80b-a3b");
  CHECK(nearest_name("kimi-k3", models) == "kimi-k2");
}

TEST_CASE("the hint is ready to append to an error") {
  CHECK(did_you_mean("mpl", {"mlp"}) == " (did you mean 'mlp'?)");
  CHECK(did_you_mean("colour", {"mlp"}) == "");
}

TEST_CASE("an exact name is its own nearest, whatever else is there") {
  CHECK(rc::check([](const std::string& text, const std::vector<std::string>& others) {
    RC_PRE(!text.empty() && text.size() <= 256);
    std::vector<std::string> candidates = others;
    candidates.push_back(text);
    const std::string got = nearest_name(text, candidates);
    RC_ASSERT(got == text || nearest_name(got, {text}) == text);  // equal but for case and '-'
  }));
}

}  // namespace fse
