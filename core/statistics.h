#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "core/names.h"

namespace fse {

// A median with its 95 % order-statistic interval. n < 6: no such interval exists, lo = hi = NaN.
struct Summary {
  double median = 0, lo = 0, hi = 0;
  int64_t n = 0;
};

// Middle value, or the mean of the two middle values; NaN for an empty set or one that holds a NaN.
double median(std::span<const double> samples);
Summary summarize(std::span<const double> samples);
// 1-based ranks of the narrowest symmetric interval with at least 95 % coverage: n=6: {1,6}.
// {0, 0} below n=6, where even the whole range covers less.
struct Ranks {
  int64_t lo, hi;
};
Ranks median_interval_ranks(int64_t n);

// FASTER only if the whole interval of candidate/baseline lies below 1 - delta, SLOWER only if it
// lies above 1 + delta, SAME only if inside 1 +- delta, UNDECIDED otherwise; INVALID when either
// side failed, has fewer than six samples, or a sample that is not a positive finite number.
enum class Verdict { faster, slower, same, undecided, invalid };
template <>
inline constexpr NameTable<Verdict, 5> kNames<Verdict>{{{Verdict::faster, "FASTER"},
                                                        {Verdict::slower, "SLOWER"},
                                                        {Verdict::same, "SAME"},
                                                        {Verdict::undecided, "UNDECIDED"},
                                                        {Verdict::invalid, "INVALID"}}};
// FASTER or SLOWER.
bool is_difference(Verdict);
// FASTER the one and SLOWER the other.
bool contradict(Verdict, Verdict);
struct Comparison {
  Summary ratio;       // candidate / baseline
  Summary difference;  // candidate - baseline, in the samples' unit
  Verdict verdict = Verdict::invalid;
  double p = 1;       // that the medians do not differ: sign test by round, or Mann-Whitney
  double p_holm = 1;  // the same after correct_all()
};
// Paired: sample i of both was taken in the same round; INVALID where the counts differ.
Comparison compare_paired(std::span<const double> candidate, std::span<const double> baseline,
                          double delta = 0.01);
// Unpaired, from the two medians and their intervals: wider than the paired answer, because the
// ratio's interval reaches from lo/hi to hi/lo.
Comparison compare_summaries(const Summary& candidate, const Summary& baseline,
                             double delta = 0.01);

// Two-sided. The sign test takes ratios of rounds, drops those that are 1, and is exact;
// Mann-Whitney takes the normal approximation with ties, good from about eight samples a side.
double sign_test_p(std::span<const double> ratios);
double mann_whitney_p(std::span<const double> a, std::span<const double> b);

// Holm's correction of p values that are looked at together: adjusted values, in the same order.
std::vector<double> holm(std::span<const double> p);
// Sets every p_holm; FASTER and SLOWER become UNDECIDED where it is not below 0.05.
void correct_all(std::span<Comparison* const> all);

}  // namespace fse
