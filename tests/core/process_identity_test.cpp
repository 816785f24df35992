#include "core/process_identity.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace fse;

TEST_CASE("this process lives, one that was waited for does not") {
  const ProcessIdentity self = this_process();
  CHECK(self.pid == getpid());
  CHECK(self.pid_started > 0);
  CHECK(may_live(self, self));

  const pid_t child = fork();
  if (child == 0) _exit(0);
  ProcessIdentity ended = self;
  ended.pid = child;
  siginfo_t info;
  REQUIRE(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  CHECK_FALSE(may_live(ended, self));  // not waited for yet: a zombie
  waitpid(child, nullptr, 0);
  CHECK_FALSE(may_live(ended, self));
}

TEST_CASE("a recycled pid and a reboot are told apart, what cannot be looked up counts as alive") {
  const ProcessIdentity self = this_process();
  ProcessIdentity other = self;
  other.pid_started -= 1;
  CHECK_FALSE(may_live(other, self));
  other = self;
  other.boot_id = "before the reboot";
  CHECK_FALSE(may_live(other, self));
  other.host = "another host";
  CHECK(may_live(other, self));
  other = self;
  other.pid = 1 << 30;
  other.pid_namespace = "pid:[1]";
  CHECK(may_live(other, self));
}
