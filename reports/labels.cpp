#include "reports/labels.h"

#include <fmt/format.h>

#include <cmath>
#include <set>

#include "reports/table.h"

namespace fse {

namespace {

template <class Get>
bool varies(const ReportData& data, Get get) {
  std::set<std::string> seen;
  for (const Series& series : data.series)
    for (const WorkloadResult& workload : series.workloads)
      for (const VariantResult& v : workload.variants) seen.insert(get(v.record.spec));
  return seen.size() > 1;
}

std::string name_of(const Case& c, const Varying& say) {
  std::string name = escape_markdown(c.layer.model);
  const auto add = [&](bool wanted, const std::string& text) {
    if (wanted) name += " " + escape_markdown(text);
  };
  add(say.dtype, to_name(c.layer.dtype));
  add(say.activations, "activations=" + to_name(c.layer.activations));
  add(say.tp, fmt::format("tp={}", c.tp));
  add(say.routing, "routing=" + to_text(c.routing));
  add(say.cache, "cache=" + to_name(c.cache));
  add(say.device, "device=" + c.device);
  add(say.seed, fmt::format("seed={}", c.seed));
  return name;
}

}  // namespace

Varying varying(const ReportData& data) {
  return {
      .experts = varies(data, [](const Case& c) { return to_name(c.variant.experts); }),
      .launch = varies(data, [](const Case& c) { return to_name(c.variant.launch); }),
      .dtype = varies(data, [](const Case& c) { return to_name(c.layer.dtype); }),
      .activations = varies(data, [](const Case& c) { return to_name(c.layer.activations); }),
      .tp = varies(data, [](const Case& c) { return std::to_string(c.tp); }),
      .routing = varies(data, [](const Case& c) { return to_text(c.routing); }),
      .cache = varies(data, [](const Case& c) { return to_name(c.cache); }),
      .device = varies(data, [](const Case& c) { return c.device; }),
      .seed = varies(data, [](const Case& c) { return std::to_string(c.seed); }),
  };
}

std::string label(const Variant& v, const Varying& say) {
  std::string text = to_name(v.gate) + "/" + to_name(v.topk) + "/" + to_name(v.shared);
  if (say.experts) text += "/" + to_name(v.experts);
  if (say.launch) text += "/" + to_name(v.launch);
  return text;
}

std::string full_name(const Case& c, const Varying& say) {
  return name_of(c, {.dtype = true,
                     .activations = say.activations,
                     .tp = true,
                     .routing = true,
                     .cache = true,
                     .device = say.device,
                     .seed = say.seed});
}

std::string plain_name(const Case& c) {
  return fmt::format("{} {} tp={} {} {} {}{}", c.layer.model, to_name(c.layer.dtype), c.tp,
                     to_text(c.routing), to_name(c.cache), c.device,
                     c.seed == 1 ? "" : fmt::format(" seed={}", c.seed));
}

std::string short_name(const Case& c, const Varying& say) {
  Varying shown = say;
  shown.dtype = true;
  return name_of(c, shown);
}

std::string change_text(const Comparison& c, int decimals) {
  const double change = 100 * (c.ratio.median - 1);
  return fmt::format("{:.1f} % ({} us) {}", std::fabs(change),
                     number(std::fabs(c.difference.median), decimals),
                     change < 0 ? "below" : "above");
}

std::string percent(const Summary& ratio) {
  return signed_number(100 * (ratio.median - 1), 1);
}

std::string percent_interval(const Summary& ratio) {
  if (ratio.n == 0) return "-";
  if (std::isnan(ratio.lo)) return "n too small (need 6)";
  return fmt::format("[{}, {}]", signed_number(100 * (ratio.lo - 1), 1),
                     signed_number(100 * (ratio.hi - 1), 1));
}

std::string time_text(const Summary& s, int decimals) {
  return fmt::format("{} us {}", number(s.median, decimals), interval(s, decimals));
}

}  // namespace fse
