#include "reports/aa_floor.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

namespace fse {

std::optional<Comparison> against_itself(const AttemptRecord& layer, double delta) {
  if (layer.control_us.empty()) return {};
  const Comparison itself = compare_paired(layer.outcome.samples_us, layer.control_us, delta);
  if (itself.verdict == Verdict::invalid) return {};
  return itself;
}

double change_of_halves(const AttemptRecord& layer) {
  const std::vector<double>& us = layer.outcome.samples_us;
  if (us.size() < 12) return std::nan("");
  std::vector<double> halves[2];
  for (size_t i = 0; i < us.size(); ++i) halves[i % 2].push_back(us[i]);
  return std::fabs(median(halves[0]) / median(halves[1]) - 1);
}

std::string to_text(const AaFloor& floor) {
  if (std::isnan(floor.change)) return "";
  return fmt::format(
      " A/A floor: {} by up to {:.1f} % in their medians; a change below that says nothing.",
      floor.controls > 0 ? "layers raced against themselves differ"
                         : "even and odd rounds of one layer differ",
      100 * floor.change);
}

}  // namespace fse
