#include "reports/selection_text.h"

#include <fmt/format.h>

#include "reports/confirmation.h"
#include "reports/table.h"

namespace fse {
namespace {

std::string confirmation_text(const Confirmation& c, const Varying& say) {
  std::string text = fmt::format(
      "Once more in a fresh process {} takes {}, {} % of what it won with",
      label(c.fastest->record.spec.variant, say), time_text(c.again, decimals_for(c.again.median)),
      number(100 * c.again.median / c.fastest->layer->time_us.median, 1));
  if (!c.partner) return text + ".\n\n";
  const Summary &fresh = c.fresh.ratio, &race = c.race.ratio;
  text +=
      fmt::format("; against {} that is {} % {} ({})", label(c.partner->record.spec.variant, say),
                  percent(fresh), percent_interval(fresh), to_name(c.fresh.verdict));
  if (race.n > 0)
    text += fmt::format(", {} % in the race: winning flattered it by {} points", percent(race),
                        signed_number(100 * (fresh.median - race.median), 1));
  if (const int tries = c.fastest->layer->confirm_tries; tries > 1)
    text += fmt::format("; it is the answer of {} processes, since the first contradicted the race",
                        tries);
  if (c.contradicts()) text += "; that contradicts the race, whose verdict is UNDECIDED";
  return text + ".\n\n";
}

std::string joint_tiles(const std::vector<JointTrial>& trials) {
  std::string taken;
  size_t tried = 0;
  for (const JointTrial& t : trials) {
    if (t.step == kWholeLayer) continue;
    ++tried;
    if (t.taken)
      taken += fmt::format("{}{} has {} ({} % {})", taken.empty() ? "" : ", ", t.step,
                           to_text(t.tile), percent(t.ratio), percent_interval(t.ratio));
  }
  if (tried == 0) return "";
  if (taken.empty())
    return fmt::format(
        "Of {} layer{} with another tile for one step, none was faster than that of the steps' "
        "winners.\n\n",
        tried, tried == 1 ? "" : "s");
  return fmt::format("For the whole layer's sake {}; {} other tile{} tried so.\n\n", taken, tried,
                     tried == 1 ? " was" : "s were");
}

// What competed as a whole layer: an earlier study's winner, or what turned out to be wrong.
std::string whole_layers(const std::vector<JointTrial>& trials) {
  std::string text;
  for (const JointTrial& t : trials) {
    if (t.step != kWholeLayer) continue;
    if (t.status != Status::measured)
      text += fmt::format("The layer of {} is {} and was left for the next best: {}.\n\n",
                          escape_markdown(t.kernel), to_name(t.status), escape_markdown(t.reason));
    else
      text +=
          fmt::format("The layer of {} competed: {} % {} against that of the steps' winners{}.\n\n",
                      escape_markdown(t.kernel), percent(t.ratio), percent_interval(t.ratio),
                      t.taken ? ", and was taken" : "");
  }
  return text;
}

}  // namespace

std::string selection_text(const WorkloadResult& w, const Varying& say, double delta) {
  const VariantResult* fastest = w.fastest();
  if (!fastest) return "";
  const auto confirmed = confirmation_of(w, delta);
  return (confirmed ? confirmation_text(*confirmed, say) : "") +
         joint_tiles(fastest->layer->trials) + whole_layers(fastest->layer->trials);
}

}  // namespace fse
