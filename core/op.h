#pragma once
#include <Eigen/Dense>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "core/plan.h"
#include "core/weights.h"

namespace fse {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix to_matrix(std::span<const float> values, int64_t rows, int64_t cols);

// The activations of a plan in float64, one matrix per Buf; ids are whole numbers in it.
struct RefState {
  std::array<Matrix, kBufCount> buffers;
  Matrix& operator[](Buf id) { return buffers[static_cast<size_t>(id)]; }
  const Matrix& operator[](Buf id) const { return buffers[static_cast<size_t>(id)]; }
};

// How many rows each expert index got: what the bytes and flops of grouped steps depend on.
struct Load {
  std::vector<int64_t> rows_per_expert;  // [experts + slots]
  int64_t pairs() const;
  int64_t active() const;  // experts with at least one row
  int64_t busiest() const;
};
Load load_of(const Matrix& topk_ids, int expert_count);

// One declaration per op: kernels, reference, cost model, tests and reports all read it.
struct OpDef {
  Op op;
  // Reads step.reads from the state (and the weights), writes step.writes.
  void (*reference)(const LayerPlan&, const Step&, const LayerWeights&, RefState&);
  // Bound on the relative Frobenius error of a kernel given exact inputs, whatever order it adds
  // in, from the reduction length and the accumulator's type; 0 for ops on ids, which must agree
  // exactly.
  double (*tolerance)(const LayerPlan&, const Step&);
  double (*flops)(const LayerPlan&, const Step&, const Load&);
  // Bytes a perfect kernel moves: each active weight and each activation once.
  double (*bytes)(const LayerPlan&, const Step&, const Load&);
};

const OpDef& op_def(Op);

// What any execution of the layer must at least do: bytes of the active experts, the shared expert
// without padding, the router, the input and the output, each once; and the layer's flops. The same
// for every variant of a layer, so that ratios to the floor compare.
struct Work {
  double bytes = 0, flops = 0;
};
Work layer_work(const LayerPlan&, const Load&);
Work step_work(const LayerPlan&, const Step&, const Load&);
// Microseconds that the work takes at least, at these rates: GB/s = 10^9 bytes, GFLOP/s = 10^9.
double floor_us(const Work&, double gbs, double gflops);

// The whole layer in float64. `chosen_ids` [tokens, choices], where given, replaces the selection:
// expert outputs are then compared on the ids the kernel chose, and routing is judged apart.
RefState run_reference(const LayerPlan&, const LayerWeights&, const Matrix& x,
                       const Matrix* chosen_ids = nullptr);

// The layer's bound, from its steps' tolerances and how far an error of the gate moves the routing
// weights: each, relative to itself, by `gate_effect` times the gate's relative error. 16: where
// the logits are not known.
double layer_tolerance(const LayerPlan&, double gate_effect = 16);

// What the reference itself allocates at its peak, in bytes: one expert at a time, not all.
int64_t reference_bytes(const LayerPlan&);

}  // namespace fse
