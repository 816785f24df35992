#pragma once
#include "core/filter.h"
#include "core/store.h"
#include "reports/grid.h"

namespace fse {

// What tuning found, a row for every workload: the fastest variant, what its steps take more with
// their default tiles, what the layer would take with a vendor's library for the products that it
// has, the A/A floor, and what was tried and failed.
Grid tuning_table(const Store&, const Filter&);

}  // namespace fse
