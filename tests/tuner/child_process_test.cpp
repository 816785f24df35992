#include "tuner/child_process.h"

#include <doctest/doctest.h>

#include <cstdlib>

using namespace fse;

namespace {

std::string wait_policy_of_a_child() {
  ChildProcess child({"/bin/sh", "-c", "read line; echo $line $OMP_WAIT_POLICY"});
  std::string answer;
  REQUIRE(child.ask("policy", 60, answer) == ChildProcess::End::answered);
  return answer;
}

}  // namespace

TEST_CASE("a child's idle threads sleep unless the user says otherwise") {
  const char* set = std::getenv("OMP_WAIT_POLICY");
  const std::string before = set == nullptr ? "" : set;
  unsetenv("OMP_WAIT_POLICY");
  CHECK(wait_policy_of_a_child() == "policy passive");
  setenv("OMP_WAIT_POLICY", "active", 1);
  CHECK(wait_policy_of_a_child() == "policy active");
  if (set == nullptr)
    unsetenv("OMP_WAIT_POLICY");
  else
    setenv("OMP_WAIT_POLICY", before.c_str(), 1);
}
