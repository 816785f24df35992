#include <doctest/doctest.h>

#include "core/store.h"
#include "core/store_sql.h"
#include "tests/core/store_fixture.h"

using namespace fse;
using namespace fse::test;

TEST_CASE("B25: what another host's process claimed is its own until it is silent for two hours") {
  const TemporaryFolder folder;
  const std::vector<CaseRecord> cases{{.spec = sample_case(), .baseline = true, .reason = ""}};
  const std::vector<std::string> ids{case_id(sample_case())};
  Store theirs = Store::create_or_open(folder / "a.db");
  const int64_t study = theirs.add_study(sample_study(), cases);
  REQUIRE(theirs.claim_cases(study, ids) == ids);
  const auto seen_by_us = [&](std::chrono::minutes silent) {
    query(theirs.database(),
          "UPDATE run SET host = 'elsewhere', boot_id = 'another', heartbeat = ? WHERE id = "
          "(SELECT run FROM claim)",
          {utc_before_now(silent)})
        .exec();
    Store ours = Store::create_or_open(folder / "a.db");
    return ours.claim_cases(ours.add_study(sample_study(), cases), ids);
  };
  CHECK_FALSE(seen_by_us(std::chrono::minutes(0)));
  CHECK_FALSE(seen_by_us(std::chrono::minutes(115)));
  CHECK(seen_by_us(std::chrono::minutes(125)) == ids);
}
