#include "reports/selection_text.h"

#include <fmt/format.h>

#include "reports/table.h"

namespace fse {
namespace {

// The other layer that was measured again in the same rounds.
const VariantResult* partner_of(const WorkloadResult& w, const VariantResult& fastest) {
  for (const VariantResult& v : w.variants)
    if (&v != &fastest && v.layer && v.layer->run == fastest.layer->run &&
        v.layer->confirm_us.size() == fastest.layer->confirm_us.size())
      return &v;
  return nullptr;
}

std::string confirmation(const WorkloadResult& w, const Varying& say, double delta) {
  const VariantResult& fastest = *w.fastest();
  const std::vector<double>& again_us = fastest.layer->confirm_us;
  if (again_us.empty()) return "";
  const Summary again = summarize(again_us);
  std::string text = fmt::format(
      "Once more in a fresh process {} takes {}, {} % of what it won with",
      label(fastest.record.spec.variant, say), time_text(again, decimals_for(again.median)),
      number(100 * again.median / fastest.layer->time_us.median, 1));
  const VariantResult* partner = partner_of(w, fastest);
  if (!partner) return text + ".\n\n";
  const Comparison c = compare_paired(again_us, partner->layer->confirm_us, delta);
  const Comparison won =
      compare_paired(fastest.layer->outcome.samples_us, partner->layer->outcome.samples_us, delta);
  text += fmt::format("; against {} that is {} % {} ({})", label(partner->record.spec.variant, say),
                      percent(c.ratio), percent_interval(c.ratio), to_name(c.verdict));
  if (won.ratio.n > 0)
    text += fmt::format(", {} % in the race: winning flattered it by {} points", percent(won.ratio),
                        signed_number(100 * (c.ratio.median - won.ratio.median), 1));
  return text + ".\n\n";
}

std::string joint_tiles(const VariantResult& fastest) {
  std::string taken;
  for (const JointTrial& t : fastest.layer->trials)
    if (t.taken)
      taken += fmt::format("{}{} has {} ({} % {})", taken.empty() ? "" : ", ", t.step,
                           to_text(t.tile), percent(t.ratio), percent_interval(t.ratio));
  const size_t tried = fastest.layer->trials.size();
  if (tried == 0) return "";
  if (taken.empty())
    return fmt::format(
        "Of {} layer{} with another tile for one step, none was faster than that of the steps' "
        "winners.\n\n",
        tried, tried == 1 ? "" : "s");
  return fmt::format("For the whole layer's sake {}; {} other tile{} tried so.\n\n", taken, tried,
                     tried == 1 ? " was" : "s were");
}

}  // namespace

std::string selection_text(const WorkloadResult& w, const Varying& say, double delta) {
  const VariantResult* fastest = w.fastest();
  if (!fastest) return "";
  return confirmation(w, say, delta) + joint_tiles(*fastest);
}

}  // namespace fse
