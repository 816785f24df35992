#pragma once
#include <string>
#include <vector>

#include "reports/labels.h"

namespace fse {

// Where one variant takes over from another: between two measured token counts their paired ratio
// crosses 1. Only variants that are the fastest somewhere are looked at.
struct Crossing {
  Variant below, above;   // the faster one below and above the break-even
  int from = 0, to = 0;   // the token counts that were measured
  double tokens = 0;      // interpolated, straight in log(tokens)
  double confidence = 0;  // that each is the faster at its end: 1 - both sign tests' misses
};
std::vector<Crossing> variant_crossings(const Series&);

// The same as a table; "" where nothing crosses.
std::string crossings_section(const Series&, const Varying&);

}  // namespace fse
