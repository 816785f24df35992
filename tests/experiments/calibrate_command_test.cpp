#include "experiments/calibrate_command.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "experiments/device_reader.h"
#include "tests/experiments/command.h"

namespace fse::test {

TEST_CASE("the cpu is calibrated to a file that simulate reads") {
  const TemporaryFolder folder;
  const Result r =
      fselab(folder.path(), {"calibrate", "--device", "cpu", "--repeats", "6", "--quick"});
  CAPTURE(r.err);
  CAPTURE(r.out);
  REQUIRE(r.exit_code == 0);
  const DeviceModel d = parse_device_model(r.out, "cpu.yaml");
  CHECK(d.arch == "cpu");
  CHECK(d.read_gbs > 0);
  CHECK(d.read_gbs <= d.peak_gbs);
  CHECK(d.launch_us > 0);
  CHECK(d.gemm_share > 0);
  CHECK(d.spreads.contains("read_gbs"));
  CHECK(r.out.find("measured_by: \"fselab ") != std::string::npos);
  CHECK(r.out.find("  - {op: grouped_stage1, tokens: 1, ") != std::string::npos);
}

TEST_CASE("a device whose times mean nothing is not calibrated") {
  const TemporaryFolder folder;
  for (const std::string device : {"emu:gfx942", "sim:h100", "fault:cpu", "hip:77"}) {
    CAPTURE(device);
    const Result r = fselab(folder.path(), {"calibrate", "--device", device});
    CHECK(r.exit_code == 3);
    CHECK(r.out.empty());
    CHECK(r.err.find(device) != std::string::npos);
  }
}

TEST_CASE("a measured number has its interval, which is checked and used") {
  Calibration c;
  for (const DeviceField& field : device_fields())
    if (field.required) c.values.push_back({std::string(field.name), {1, 0.9, 1.2, 11}, "a test"});
  const std::string yaml =
      to_yaml(c, {.kind = "hip", .arch = "sm_90", .product = "A \"B\"\n"}, "x", "2026-11-25");
  const DeviceModel d = parse_device_model(yaml, "d.yaml");
  CHECK(d.name == "A \"B\" ");
  CHECK(d.spreads.at("launch_us") == doctest::Approx(0.2));
  const auto error = [&](const std::string& from, const std::string& to) {
    std::string wrong = yaml;
    wrong.replace(wrong.find(from), from.size(), to);
    try {
      parse_device_model(wrong, "d.yaml");
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(error("low: 0.9", "low: 1.1").find("compute_units.low is '1.1'") != std::string::npos);
  CHECK(error("high: 1.2", "high: 0.5").find("compute_units.high is '0.5'") != std::string::npos);
  CHECK(error("n: 11", "n: 2").find("compute_units.n is '2'") != std::string::npos);
  CHECK(error("low: 0.9, ", "").find("has no 'low'") != std::string::npos);
}

}  // namespace fse::test
