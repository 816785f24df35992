#pragma once
#include <optional>

#include "reports/report.h"

namespace fse {

// The fastest variant of a workload, measured once more in a fresh process, beside another layer of
// the same rounds where there was one.
struct Confirmation {
  const VariantResult* fastest = nullptr;
  const VariantResult* partner = nullptr;  // nullptr: it was measured alone
  Summary again;                           // of the fastest
  // Against the partner: again, and in the race that it had won; INVALID without one.
  Comparison fresh, race;
  // FASTER in the race and SLOWER in the fresh process, or the other way round.
  bool contradicts() const;
};
std::optional<Confirmation> confirmation_of(const WorkloadResult&, double delta);

}  // namespace fse
