#include "core/prediction_error.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

namespace fse {

TEST_CASE("errors are relative to what was measured, and either direction counts") {
  const std::vector<Prediction> all{{110, 100, {90, 120}}, {45, 50, {46, 49}}, {300, 200, {}}};
  const ErrorSummary s = summarize_errors(all);
  CHECK(s.n == 3);
  CHECK(s.mean == doctest::Approx((10 + 10 + 50) / 3.0));
  CHECK(s.median == doctest::Approx(10));
  CHECK(s.p90 == doctest::Approx(10 + 0.8 * 40));
  CHECK(s.worst == doctest::Approx(50));
  CHECK(s.covered == doctest::Approx(100 / 3.0));
  CHECK(std::isnan(summarize_errors({}).mean));
}

TEST_CASE("a sign is right or wrong only where the gain is more than 2 %") {
  const std::vector<Prediction> all{
      {20, 22, {18, 24}}, {-1, 5, {-3, 1}}, {1, -2, {-5, 5}}, {-4, -6, {-5, -3}}};
  const std::vector<double> nearest{21, 21, 21, 21};
  const GainSummary s = summarize_gains(all, nearest);
  CHECK(s.mean == doctest::Approx((2 + 6 + 3 + 2) / 4.0));
  CHECK(s.worst == doctest::Approx(6));
  CHECK(s.decided == 3);
  CHECK(s.sign_right == doctest::Approx(200 / 3.0));
  CHECK(s.covered == doctest::Approx(50));
  CHECK(s.no_gain == doctest::Approx((22 + 5 + 2 + 6) / 4.0));
  CHECK(s.nearest_gain == doctest::Approx((1 + 16 + 23 + 27) / 4.0));
  CHECK(std::isnan(summarize_gains(all, {}).nearest_gain));
}

}  // namespace fse
