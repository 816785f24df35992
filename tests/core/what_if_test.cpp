#include "core/what_if.h"

#include <doctest/doctest.h>

#include "core/error.h"

namespace fse {
namespace {

std::string refusal(const std::string& change) {
  DeviceModel device;
  FrameworkModel framework;
  try {
    apply_what_if({change}, device, framework);
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("changes set or multiply a number, in order") {
  DeviceModel device;
  device.launch_us = 3;
  device.read_gbs = 5000;
  FrameworkModel framework;
  apply_what_if({"launch_us=1.5", "launch_us*=2", "read_gbs*=1.2", "host_us=7", "zipf=1.2"}, device,
                framework);
  CHECK(device.launch_us == 3);
  CHECK(device.read_gbs == doctest::Approx(6000));
  CHECK(framework.host_us == 7);
  CHECK(framework.random_prompts.kind == PriorKind::zipf);
  CHECK(framework.random_prompts.parameter == 1.2);
}

TEST_CASE("a change that makes no sense says what would") {
  CHECK(refusal("lanch_us=1").find("did you mean 'launch_us'?") != std::string::npos);
  CHECK(refusal("launch_us").find("expected NAME=VALUE") != std::string::npos);
  CHECK(refusal("=1").find("expected NAME=VALUE") != std::string::npos);
  CHECK(refusal("launch_us=fast").find("is no number") != std::string::npos);
  CHECK(refusal("launch_us=nan").find("is no number") != std::string::npos);
  CHECK(refusal("launch_us=-1").find("expected 0 to 1000") != std::string::npos);
  CHECK(refusal("launch_us=1 ").find("is no number") != std::string::npos);
}

}  // namespace fse
