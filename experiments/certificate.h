#pragma once
#include <optional>
#include <string>
#include <vector>

#include "core/filter.h"
#include "core/statistics.h"
#include "core/store.h"
#include "kernels/catalog.h"

namespace fse {

// What a winner was measured to be, in a file that another machine can check.

struct CertifiedStep {
  std::string step, kernel, tile;
  double time_us = 0;                // inside the layer
  std::optional<double> default_us;  // of its default tile, where the step was tuned
  std::optional<double> tuned_us;    // of this one, in the same rounds
  std::optional<int> registers, lds_bytes, spill_bytes;  // a GPU's
  // The vendor's library in the same finals, or where it was taken, the best own kernel.
  std::optional<std::string> rival, rival_tile;
  std::optional<Summary> rival_us, over_rival;  // over_rival: this one's time over the rival's
  std::optional<Verdict> rival_verdict;
};

// One comparison that the winner claims, against what ran in the same rounds.
struct CertifiedClaim {
  std::string against;  // "incumbent": the study's baseline; "runner_up": the second fastest
  int64_t attempt = 0;
  Variant variant;
  std::vector<CertifiedStep> steps;
  Summary time_us, ratio;  // ratio: the winner's time over this one's
  Verdict verdict = Verdict::invalid;
  double p = 1;
  bool paired = false;  // sample by sample; else by intervals
};

// The token counts for which the database's dispatch table names the winner's variant.
struct CertifiedRange {
  int from = 0, to = 0;
  double regret = 0;    // of the winner at its own workload
  double held_out = 0;  // the table's worst at token counts that it was not made from; NaN: unknown
};

struct Certificate {
  int format = 1;
  std::string fselab;  // version and revision that wrote it
  Case spec;
  std::string case_id, canonical;  // the whole key, and its hash
  DeviceInfo device;
  std::string compiler, git_revision, host_os;
  double read_gbs = 0, peak_gflops = 0;
  int64_t attempt = 0;
  int weight_sets = 0;
  int64_t rotation_shortfall_bytes = 0;
  std::vector<int64_t> load_histogram;
  double distinct_experts = 0, max_over_mean_load = 0, routing_agreement = 0;
  Summary time_us;
  double floor_us = 0;
  double rel_frobenius = 0, worst = 0, bound = 0;
  std::optional<Summary> aa_floor;  // ratio of a layer to itself in the same rounds
  std::vector<CertifiedStep> steps;
  std::vector<CertifiedClaim> claims;
  std::string library;  // in how many steps the vendor's was compared with, and taken
  CertifiedRange valid;
  std::string rerun;  // the command that measures the attempt again
};

// Of the fastest layer that the filter takes; Error(usage) where that is none, or where the layers
// differ in more than their variant.
Certificate make_certificate(const Store&, const Filter&);

// A file that names its own hash: any change shows.
std::string to_text(const Certificate&);
// Throws Error(data) "NAME: ..." for what is no certificate, and "NAME: tampered: ..." where
// content and hash differ.
Certificate read_certificate(const std::string& text, const std::string& name);

}  // namespace fse
