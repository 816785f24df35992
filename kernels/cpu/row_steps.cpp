#include "kernels/cpu/row_steps.h"

#include <algorithm>
#include <stdexcept>

#include "kernels/cpu/elementwise.h"

namespace fse {
namespace {

// One expert's rows in sorted order.
struct ExpertRows {
  int expert;
  int64_t begin, count;
};

// Experts with at least one row, in order.
std::span<const ExpertRows> active_experts(const CpuArgs& a, Scratch& scratch) {
  const int experts = a.plan.expert_count();
  const int32_t* offsets = a.i32(Buf::expert_offsets);
  const auto active = scratch.get<ExpertRows>(0, experts);
  size_t n = 0;
  for (int e = 0; e < experts; ++e)
    if (offsets[e + 1] > offsets[e]) active[n++] = {e, offsets[e], offsets[e + 1] - offsets[e]};
  return active.first(n);
}

// Time of one expert's pieces in that of a single row's: its weights arrive once, and about three
// more rows can be multiplied in that time (measured: 2.5 in fp8_block128, 4 in f32).
double piece_cost(const ExpertRows& e) {
  return 1 + static_cast<double>(e.count - 1) / 3;
}

// The piece at which `part` of the work is done; every expert has `blocks` pieces.
int64_t piece_at(std::span<const ExpertRows> experts, int64_t blocks, double part) {
  double total = 0;
  for (const ExpertRows& e : experts) total += piece_cost(e);
  double left = total * part;
  for (size_t i = 0; i < experts.size(); ++i) {
    const double cost = piece_cost(experts[i]);
    if (left < cost)
      return static_cast<int64_t>(i) * blocks +
             static_cast<int64_t>(left / cost * static_cast<double>(blocks));
    left -= cost;
  }
  return static_cast<int64_t>(experts.size()) * blocks;
}

// All pieces of the experts: claimed one by one, or contiguous shares that take equally long.
template <class Work>
void for_each_expert_piece(Team& team, std::span<const ExpertRows> experts, int64_t blocks,
                           bool dynamic, const Work& work) {
  const int64_t pieces = static_cast<int64_t>(experts.size()) * blocks;
  const auto one = [&](int64_t i) { work(experts[static_cast<size_t>(i / blocks)], i % blocks); };
  if (dynamic) return for_each_piece(team, pieces, true, one);
  const auto bound = [&](int rank) {
    return rank == team.size() ? pieces
                               : piece_at(experts, blocks, static_cast<double>(rank) / team.size());
  };
  for (int64_t i = bound(team.rank()); i < bound(team.rank() + 1); ++i) one(i);
}

// How much of a slot's intermediate axis holds weights: the rest is padding.
int64_t slot_width(const LayerPlan& plan, int slot) {
  const int64_t width = plan.shard.intermediate;
  return std::min(width, plan.shard.shared.stored() - slot * width);
}

// Work of one piece that all steps share: rows [begin, begin + n) of a block.
struct Block {
  int64_t begin, n;
};
Block block_of(int64_t index, int64_t block, int64_t rows) {
  const int64_t begin = index * block;
  return {begin, std::min(block, rows - begin)};
}
constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// use(first, xs, count) for batches of tokens; xs are pointers to their inputs.
template <class XOf, class Use>
void for_batches(int64_t tokens, int64_t batch, Scratch& scratch, const XOf& x_of, const Use& use) {
  const auto xs = scratch.get<const float*>(1, std::min(tokens, batch));
  for (int64_t t = 0; t < tokens; t += batch) {
    const int64_t count = std::min(batch, tokens - t);
    for (int64_t j = 0; j < count; ++j) xs[static_cast<size_t>(j)] = x_of(t + j);
    use(t, xs.data(), count);
  }
}

// gate and up rows of a block, then SiLU-mul into h.
template <class XOf, class HOf>
void stage1_piece(const CpuArgs& a, const RowPlan& p, Scratch& scratch, int expert, Block b,
                  int64_t tokens, const XOf& x_of, const HOf& h_of) {
  for_batches(tokens, p.batch, scratch, x_of, [&](int64_t t, const float* const* xs, int64_t n) {
    float* tmp = scratch.get<float>(2, n * 2 * p.block).data();
    DotRows job{gate_rows(a.weights, expert),
                b.begin,
                b.begin + b.n,
                a.plan.layer.hidden,
                xs,
                n,
                tmp,
                2 * p.block,
                false};
    p.dot(job);
    job.rows = up_rows(a.weights, expert);
    job.out = tmp + p.block;
    p.dot(job);
    for (int64_t j = 0; j < n; ++j) {
      const float* row = tmp + j * 2 * p.block;
      silu_mul(row, row + p.block, h_of(t + j) + b.begin, b.n);
    }
  });
}

void gate_gemm(const CpuArgs& a, const RowPlan& p, Team& team) {
  const Buf target = a.step.writes[0];
  const int64_t stride = a.plan.find(target)->cols;
  const int64_t hidden = a.plan.layer.hidden;
  const int64_t rows = a.step.row_end - a.step.row_begin;
  PackedRows router = router_rows(a.weights);
  router.data = router.row(a.step.row_begin);
  const auto x_of = [&](int64_t t) { return a.f32(Buf::x) + t * hidden; };
  for_each_piece(team, ceil_div(rows, p.block), p.dynamic, [&](int64_t i) {
    const Block b = block_of(i, p.block, rows);
    for_batches(a.plan.tokens, p.batch, team.scratch(), x_of,
                [&](int64_t t, const float* const* xs, int64_t n) {
                  p.dot({router, b.begin, b.begin + b.n, hidden, xs, n,
                         a.f32(target) + t * stride + b.begin, stride, false});
                });
  });
}

void grouped_stage1(const CpuArgs& a, const RowPlan& p, Team& team) {
  const int64_t width = a.plan.shard.intermediate;
  const int64_t hidden = a.plan.layer.hidden;
  const int64_t choices = a.plan.choices();
  const auto experts = active_experts(a, team.scratch());
  const int64_t blocks = ceil_div(width, p.block);
  for_each_expert_piece(team, experts, blocks, p.dynamic, [&](ExpertRows e, int64_t i) {
    const int32_t* pairs = a.i32(Buf::sorted_pairs) + e.begin;
    stage1_piece(
        a, p, team.scratch(), e.expert, block_of(i, p.block, width), e.count,
        [&](int64_t j) { return a.f32(Buf::x) + pairs[j] / choices * hidden; },
        [&](int64_t j) { return a.f32(Buf::h) + (e.begin + j) * width; });
  });
}

void grouped_stage2(const CpuArgs& a, const RowPlan& p, Team& team) {
  const int64_t width = a.plan.shard.intermediate;
  const int64_t hidden = a.plan.layer.hidden;
  const float* weights = a.f32(Buf::topk_weights);
  const auto experts = active_experts(a, team.scratch());
  const int64_t blocks = ceil_div(hidden, p.block);
  for_each_expert_piece(team, experts, blocks, p.dynamic, [&](ExpertRows e, int64_t i) {
    const Block b = block_of(i, p.block, hidden);
    const int32_t* pairs = a.i32(Buf::sorted_pairs) + e.begin;
    const auto h_of = [&](int64_t j) { return a.f32(Buf::h) + (e.begin + j) * width; };
    for_batches(e.count, p.batch, team.scratch(), h_of,
                [&](int64_t t, const float* const* xs, int64_t n) {
                  float* tmp = team.scratch().get<float>(2, n * p.block).data();
                  p.dot({down_rows(a.weights, e.expert), b.begin, b.begin + b.n, width, xs, n, tmp,
                         p.block, false});
                  for (int64_t j = 0; j < n; ++j) {
                    const int64_t pair = pairs[t + j];
                    scale_to(tmp + j * p.block, weights[pair],
                             a.f32(Buf::y) + pair * hidden + b.begin, b.n);
                  }
                });
  });
}

void mlp_stage1(const CpuArgs& a, const RowPlan& p, Team& team) {
  const int64_t width = a.plan.shard.intermediate;
  const int64_t hidden = a.plan.layer.hidden;
  const int64_t row = a.plan.shard.slots * width;
  const int64_t blocks = ceil_div(width, p.block);
  for_each_piece(team, a.plan.shard.slots * blocks, p.dynamic, [&](int64_t i) {
    const auto slot = static_cast<int>(i / blocks);
    const Block all = block_of(i % blocks, p.block, width);
    const Block used{all.begin,
                     std::clamp<int64_t>(slot_width(a.plan, slot) - all.begin, 0, all.n)};
    const auto h_of = [&](int64_t t) { return a.f32(Buf::shared_h) + t * row + slot * width; };
    for (int64_t t = 0; used.n < all.n && t < a.plan.tokens; ++t)
      std::fill(h_of(t) + used.begin + used.n, h_of(t) + all.begin + all.n, 0.0f);
    if (used.n == 0) return;
    stage1_piece(
        a, p, team.scratch(), a.plan.layer.routing.experts + slot, used, a.plan.tokens,
        [&](int64_t t) { return a.f32(Buf::x) + t * hidden; }, h_of);
  });
}

// All slots of a block of output rows before the next block: their sum never leaves the cache.
void mlp_stage2(const CpuArgs& a, const RowPlan& p, Team& team) {
  const int64_t width = a.plan.shard.intermediate;
  const int64_t hidden = a.plan.layer.hidden;
  const int64_t row = a.plan.shard.slots * width;
  const bool gated = a.plan.layer.gate_rows() > 0;
  const auto constant = static_cast<float>(a.plan.layer.shared.constant);
  for_each_piece(team, ceil_div(hidden, p.block), p.dynamic, [&](int64_t i) {
    const Block b = block_of(i, p.block, hidden);
    const auto h_of = [&](int64_t t) { return a.f32(Buf::shared_h) + t * row; };
    for_batches(a.plan.tokens, p.batch, team.scratch(), h_of,
                [&](int64_t t, const float** xs, int64_t n) {
                  float* tmp = team.scratch().get<float>(2, n * p.block).data();
                  for (int slot = 0; slot < a.plan.shard.slots; ++slot) {
                    p.dot({down_rows(a.weights, a.plan.layer.routing.experts + slot), b.begin,
                           b.begin + b.n, slot_width(a.plan, slot), xs, n, tmp, p.block, slot > 0});
                    for (int64_t j = 0; j < n; ++j) xs[j] += width;
                  }
                  for (int64_t j = 0; j < n; ++j)
                    scale_to(tmp + j * p.block, gated ? a.f32(Buf::shared_weight)[t + j] : constant,
                             a.f32(Buf::shared_out) + (t + j) * hidden + b.begin, b.n);
                });
  });
}

}  // namespace

void run_row_step(const CpuArgs& a, const RowPlan& p, Team& team) {
  switch (a.step.op) {
    case Op::gate_gemm:
      return gate_gemm(a, p, team);
    case Op::grouped_stage1:
      return grouped_stage1(a, p, team);
    case Op::grouped_stage2:
      return grouped_stage2(a, p, team);
    case Op::mlp_stage1:
      return mlp_stage1(a, p, team);
    case Op::mlp_stage2:
      return mlp_stage2(a, p, team);
    default:
      throw std::logic_error("no dot products in " + to_name(a.step.op));
  }
}

}  // namespace fse
