#include "kernels/microbench.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "kernels/backend.h"
#include "kernels/jit.h"

namespace fse {

TEST_CASE("the cpu's microbenchmarks measure something, and name what it has not") {
  const auto backend = open_backend("cpu");
  const auto bench = backend->microbench();
  REQUIRE(bench);
  CHECK(bench->chain_us(Chain::graph, 50).value() > 0);
  CHECK(bench->chain_us(Chain::touching, 50).value() > 0);
  for (const Chain chain : {Chain::dependent, Chain::forked, Chain::barrier})
    CHECK(!bench->chain_us(chain, 10));
  CHECK(bench->read_us(1, 1 << 20, 1) > 0);
  CHECK(bench->read_us(1, 1 << 16, 4) > 0);
  CHECK(bench->copy_us(1 << 20) > 0);
  CHECK(!bench->widen_gops());
  CHECK(!bench->limits().driver.empty());
  const auto shared = bench->shared_read_us(1 << 20, 1 << 18);
  CHECK(shared.has_value() == (backend->device().compute_units > 1));
}

TEST_CASE("a device whose times mean nothing has no microbenchmarks") {
  CHECK(open_backend("fault:cpu")->microbench() == nullptr);
}

TEST_CASE("the microbenchmarks' kernels compile for both vendors, without a GPU") {
  for (const std::string arch : {"sm_90", "gfx90a"}) {
    CAPTURE(arch);
    try {
      open_rtc(arch);
    } catch (const Error& e) {
      MESSAGE("SKIPPED for " << arch << ": " << std::string(e.what()));
      continue;
    }
    const Jit jit({.headers = read_device_headers(FSELAB_SOURCE_DIR "/kernels/device"),
                   .cache_dir = FSELAB_TEST_CACHE},
                  arch);
    for (const std::string name :
         {"read_all", "nothing<1>", "touch<1>", "touch<2>", "barrier_chain", "widen_rate<4096>"}) {
      CAPTURE(name);
      const Compiled result = jit.compile({"calibrate.h", "fse::gpu::" + name});
      const auto* failed = std::get_if<CompileFailed>(&result);
      CHECK_MESSAGE(!failed, failed->log);
    }
  }
}

}  // namespace fse
