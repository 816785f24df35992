#include "tuner/doubt.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "tuner/selection.h"

namespace fse {
namespace {

// A coarse clock has few values for a short step, so that equal samples in equal order are chance:
// with 4 values in 6 rounds one time in 4,096. Below one in 10,000 they are taken for a copy.
bool are_told_apart(const std::vector<double>& samples_us) {
  const std::set<double> values(samples_us.begin(), samples_us.end());
  return std::pow(values.size(), samples_us.size()) >= 1e4;
}

}  // namespace

double memory_bytes(const LayerPlan& plan, const Step& step, double bytes, Cache cache) {
  const auto without = [&](const std::vector<Buf>& buffers) {
    for (const Buf id : buffers) bytes -= static_cast<double>(plan.find(id)->bytes());
  };
  without(step.writes);
  if (cache != Cache::cold_all) without(step.reads);
  return std::max(bytes, 0.0);
}

void doubt(AttemptRecord& record, const LayerPlan& plan, const Step& step, const Ledger& ledger,
           const TuneControl& control) {
  if (record.outcome.status != Status::measured || record.outcome.samples_us.empty()) return;
  AttemptRecord seen = record;
  seen.bytes = memory_bytes(plan, step, record.bytes, ledger.cache);
  const auto beats = [&] { return beats_memory(seen, ledger.cache, ledger.sourced_gbs); };
  for (int again = 0; again < 3 && beats(); ++again) {
    control.raise_ceilings();
    seen.read_gbs = record.read_gbs = ledger.read_gbs;
    record.peak_gflops = ledger.peak_gflops;
    record.floor_us = ledger.floor_us({record.bytes, record.flops});
  }
  std::vector<AttemptRecord> twins;
  if (are_told_apart(record.outcome.samples_us))
    twins = ledger.store.steps_that_took(median(record.outcome.samples_us), record);
  record.outcome.reason = suspicion(seen, ledger.cache, ledger.sourced_gbs, twins);
  if (!record.outcome.reason.empty()) record.outcome.status = Status::suspect;
}

}  // namespace fse
