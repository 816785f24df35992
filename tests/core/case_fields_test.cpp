#include "core/case_fields.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/core/store_fixture.h"

using namespace fse;

namespace {

std::string error_of_reading(const nlohmann::json& json) {
  try {
    from_json<Case>(json);
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::data);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a case is the same case after a round trip through text") {
  Case spec = test::sample_case();
  spec.layer.model = "a \"quoted\" name";
  spec.layer.routing.scaling = 2.827;
  spec.routing = {RoutingKind::trace, 0.1, "ids/a b.safetensors", "0123"};
  spec.seed = ~uint64_t{0};
  const std::string text = to_json(spec).dump();
  const Case again = from_json<Case>(nlohmann::json::parse(text));
  CHECK(canonical_text(again) == canonical_text(spec));
  CHECK(again.layer.model == spec.layer.model);
  CHECK(again.routing == spec.routing);
  CHECK(again.variant == spec.variant);
  CHECK(to_json(again).dump() == text);
}

TEST_CASE("a field that is missing, of another type or no enumerator is named") {
  const nlohmann::json whole = to_json(test::sample_case());
  for (const auto& [name, value] : whole.items()) {
    CAPTURE(name);
    nlohmann::json missing = whole, other = whole;
    missing.erase(name);
    other[name] = nlohmann::json::array({1, "x"});
    CHECK(error_of_reading(missing) == "field " + name + " is missing");
    CHECK(!error_of_reading(other).empty());
  }
  nlohmann::json unknown = whole;
  unknown["cache"] = "lukewarm";
  CHECK(error_of_reading(unknown) == "'lukewarm', expected one of warm, cold_weights, cold_all");
  CHECK(!error_of_reading(nlohmann::json::array()).empty());
  CHECK(!error_of_reading(nlohmann::json("text")).empty());
}

TEST_CASE("numbers keep every bit, those that JSON lacks too") {
  for (const double value : std::initializer_list<double>{0.1, 1e-300, -0.0, INFINITY, -INFINITY}) {
    const double again = from_json<double>(nlohmann::json::parse(to_json(value).dump()));
    CHECK(std::bit_cast<uint64_t>(again) == std::bit_cast<uint64_t>(value));
  }
  CHECK(std::isnan(from_json<double>(to_json(std::nan("")))));
  CHECK_THROWS_AS(from_json<double>(nlohmann::json("many")), Error);
}
