#pragma once
#include <cstdint>
#include <span>

#include "core/names.h"

namespace fse {

// A median with its 95 % order-statistic interval. n < 6: no such interval exists, lo = hi = NaN.
struct Summary {
  double median = 0, lo = 0, hi = 0;
  int64_t n = 0;
};

// Middle value, or the mean of the two middle values; NaN for an empty set.
double median(std::span<const double> samples);
Summary summarize(std::span<const double> samples);
// 1-based ranks of the narrowest symmetric interval with at least 95 % coverage: n=6: {1,6}.
struct Ranks {
  int64_t lo, hi;
};
Ranks median_interval_ranks(int64_t n);

// FASTER only if the whole interval of candidate/baseline lies below 1 - delta, SAME only if inside
// 1 +- delta, UNDECIDED otherwise; INVALID when either side failed or has fewer than six samples.
enum class Verdict { faster, slower, same, undecided, invalid };
template <>
inline constexpr NameTable<Verdict, 5> kNames<Verdict>{{{Verdict::faster, "FASTER"},
                                                        {Verdict::slower, "SLOWER"},
                                                        {Verdict::same, "SAME"},
                                                        {Verdict::undecided, "UNDECIDED"},
                                                        {Verdict::invalid, "INVALID"}}};
struct Comparison {
  Summary ratio;  // candidate / baseline
  Verdict verdict = Verdict::invalid;
};
// Paired: sample i of both was taken in the same round.
Comparison compare_paired(std::span<const double> candidate, std::span<const double> baseline,
                          double delta = 0.01);

}  // namespace fse
