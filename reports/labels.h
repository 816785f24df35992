#pragma once
#include <string>

#include "reports/report.h"

namespace fse {

// What differs within a report and must therefore be said in every place; the rest is said once.
struct Varying {
  bool experts = false, launch = false;  // variant axes; gate, topk and shared are always said
  bool dtype = false, activations = false, tp = false, routing = false, cache = false;
  bool device = false, seed = false;
};
Varying varying(const ReportData&);

std::string label(const Variant&, const Varying&);  // "fused/fused/slot"
// "qwen3-next-80b-a3b bf16 tp=1 routing=uniform cache=cold_weights": everything / what varies.
std::string full_name(const Case&, const Varying&);
std::string plain_name(const Case&);  // everything, as plain text
std::string short_name(const Case&, const Varying&);

// "3.1 % (74 us) below", "0.4 % (9 us) above": a change in time, in words.
std::string change_text(const Comparison&, int decimals);
std::string percent(const Summary& ratio);           // "-3.1", of the median
std::string percent_interval(const Summary& ratio);  // "[-3.8, -2.4]"

// "2310 us [2290, 2330]"
std::string time_text(const Summary&, int decimals);

}  // namespace fse
