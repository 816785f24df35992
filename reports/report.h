#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/device_model.h"
#include "core/rival.h"
#include "core/statistics.h"
#include "core/store.h"

namespace fse {

// One way to execute a workload, and how it compares with the baseline.
struct VariantResult {
  CaseRecord record;
  std::optional<AttemptRecord> layer;        // measured and verified at its tuned tiles
  std::vector<std::optional<Rival>> rivals;  // of its steps
  // Index of the baseline it is compared with: of several, the one that agrees with it in the most
  // axes, so that what the sweep's baseline leaves open is compared like with like; of equally
  // close ones the fastest, so that no gain is claimed against the weaker.
  std::optional<size_t> baseline;
  Comparison comparison;  // INVALID where either side has no result
  bool paired = false;    // by round, where one run measured both; else from the intervals
};

// The fastest slot variant against the fastest of any other kind, overlapped MLP or baseline:
// whether the slot is the best choice, which is more than better than the baseline.
struct Duel {
  size_t slot, other;  // indices of variants
  // Whose steps account for it: the same, or where one of them is a single launch, whose time is
  // its only step, the fastest of its kind that is several.
  size_t slot_steps, other_steps;
  Comparison comparison;
  bool paired = false;
};

// The variants of one layer, workload and token count: baselines first, then by time, then those
// without a result.
struct WorkloadResult {
  int tokens = 0;
  std::vector<VariantResult> variants;
  std::optional<Duel> duel;  // where both kinds were measured

  const VariantResult* fastest() const;  // nullptr where nothing was measured
  const VariantResult* fastest(Shared) const;
  const VariantResult* baseline_of(const VariantResult&) const;  // nullptr for a baseline
};

// Workloads that differ in nothing but the token count, ascending.
struct Series {
  Case common;  // its variant and tokens are those of its first case
  std::vector<WorkloadResult> workloads;
};

// What a device can do at most, and who says so.
struct Ceiling {
  std::string device;  // as in Environment
  std::string kind;    // measured | datasheet | published | inferred
  std::string what;    // read_gbs | peak_gflops (bf16 where sourced) | peak_fp8_gflops
  double value = 0;
  std::string unit, source;
};

struct ReportData {
  int64_t study_id = 0;  // 0: the database holds no study yet
  StudyRecord study;
  std::vector<Series> series;
  std::vector<Environment> environments;
  std::vector<Ceiling> ceilings;              // as measured; the caller may add what others say
  std::map<std::string, DeviceModel> models;  // by a device's name in Environment; the caller's
  std::vector<Store::AttemptCount> attempt_counts;
  std::vector<Store::FailureCount> failure_counts;
  double delta = 0.01;     // effect threshold of the verdicts
  size_t comparisons = 0;  // looked at together: verdicts hold after Holm's correction over them
  // The largest change that a layer shows against itself: raced twice, or (of older results) in its
  // even and odd rounds; NaN: unknown.
  double aa_floor = 0;
  size_t controls = 0, failed_controls = 0;  // layers raced twice, and those that were FASTER or
                                             // SLOWER than themselves: their run decides nothing
};

// The newest study, or the one that is meant: the newest of that name, else the study of that id,
// or the only one whose plan hash begins so. Error(usage) with the studies there are. A database
// without any study makes an empty report.
ReportData load_report(const Store&, const std::optional<std::string>& wanted = std::nullopt);
ReportData load_report(const Store&, int64_t study);  // by its id

}  // namespace fse
