#include "core/device_model.h"

#include <doctest/doctest.h>

namespace fse {
namespace {

DeviceModel device() {
  DeviceModel d;
  d.link_gbs = 50;
  d.link_us = 5;
  d.all_reduce = {{4, 8192, 5}, {4, 65536, 6}, {4, 262144, 12}, {8, 65536, 8}};
  return d;
}

}  // namespace

TEST_CASE("an all-reduce is what was measured for its degree, linear between the points") {
  const DeviceModel d = device();
  CHECK(all_reduce_us(d, 1, 65536) == 0);
  CHECK(all_reduce_us(d, 4, 8192) == 5);
  CHECK(all_reduce_us(d, 4, 65536) == 6);
  CHECK(all_reduce_us(d, 8, 65536) == 8);
  CHECK(all_reduce_us(d, 4, (65536 + 262144) / 2.0) == doctest::Approx(9));
  CHECK(all_reduce_us(d, 4, 1) == 5);  // never less than the smallest that was measured
}

TEST_CASE("beyond the table the links decide, and without one latency and links do") {
  const DeviceModel d = device();
  // 2 (4 - 1) / 4 of the bytes over three links of 50 GB/s.
  const double each = 2.0 * 3 / 4 / (3 * 50e3);
  CHECK(all_reduce_us(d, 4, 1e6) == doctest::Approx(12 + (1e6 - 262144) * each));
  CHECK(all_reduce_us(d, 2, 1e6) == doctest::Approx(5 + 2.0 * 1 / 2 * 1e6 / 50e3));
}

TEST_CASE("more bytes never take less time") {
  const DeviceModel d = device();
  for (const int tp : {2, 4, 8}) {
    double last = 0;
    for (double bytes = 1; bytes < 1e8; bytes *= 1.7) {
      const double us = all_reduce_us(d, tp, bytes);
      CHECK(us >= last);
      last = us;
    }
  }
}

TEST_CASE(
    "a number's interval is the measured one, but no narrower than devices of a kind differ") {
  DeviceModel d = device();
  const DeviceField& launch = *find_device_field("launch_us");
  CHECK(spread_of(d, launch) == launch.spread);
  d.spreads["launch_us"] = 0.08;
  CHECK(spread_of(d, launch) == 0.08);
  d.spreads["launch_us"] = 0.0001;
  CHECK(spread_of(d, launch) == 0.03);
  d.spreads["llc_mb"] = 0.5;  // no uncertain number
  CHECK(spread_of(d, *find_device_field("llc_mb")) == 0);
}

}  // namespace fse
