#include "core/filter.h"

#include <doctest/doctest.h>

#include "tests/core/store_fixture.h"

using namespace fse;
using namespace fse::test;

TEST_CASE("a filter is conditions with bound values, never text of its own SQL") {
  const Filter f = parse_filter({"model=qwen3-next", "tokens>=4", "variant.shared=slot,mlp"});
  CHECK(contains(f.where, "c.tokens >= ?"));
  CHECK(f.parameters.size() == 3 + 1 + 6);
  const Filter evil = parse_filter({"model=x' OR 1=1; --"});
  CHECK_FALSE(contains(evil.where, "1=1"));
  CHECK(parse_filter({"shared=slot"}).where == parse_filter({"variant.shared=slot"}).where);
  CHECK(parse_filter({}).where == "1");
}

TEST_CASE("a wrong filter says what there is") {
  const auto error = [](const std::string& text) {
    return error_of([&] { parse_filter({text}); });
  };
  CHECK(contains(error("modle=x"), "did you mean 'model'?"));
  CHECK(contains(error("tokens=four"), "'four' is not a number"));
  CHECK(contains(error("tokens="), "is not a number"));
  CHECK(contains(error("tokens"), "expected COLUMN=VALUE"));
  CHECK(contains(error("=4"), "expected COLUMN=VALUE"));
  CHECK(error("").starts_with("2: "));
}
