#pragma once
#include <optional>

#include "core/rival.h"
#include "reports/grid.h"

namespace fse {

// The columns that tell what a step's library, or own kernels, took in the finals.
std::vector<std::string> rival_columns();
std::vector<Cell> rival_cells(const std::optional<Rival>&);  // all NULL where there is none

// Behind the rows of show_steps() of this attempt.
void add_rivals(const Store&, int64_t attempt, Grid& steps);

}  // namespace fse
