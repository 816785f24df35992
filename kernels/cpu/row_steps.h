#pragma once
#include <functional>

#include "kernels/cpu/dot_rows.h"
#include "kernels/cpu/team.h"

namespace fse {

// How a step that is made of dot products is cut into pieces, and what computes one.
struct RowPlan {
  std::function<void(const DotRows&)> dot;  // called by one thread for one piece
  int64_t block;                            // weight rows per piece, a multiple of 4
  int64_t batch;                            // tokens at a time: bounds the scratch memory
  bool dynamic;  // threads claim pieces one by one; else each has a contiguous share
};

// gate_gemm, grouped_stage1, grouped_stage2, mlp_stage1 and mlp_stage2, from the view of one
// thread. Uses scratch slots 0 to 2.
void run_row_step(const CpuArgs&, const RowPlan&, Team&);

}  // namespace fse
