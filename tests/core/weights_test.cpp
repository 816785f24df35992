#include "core/weights.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/plan.h"
#include "tests/core/golden_layers.h"

namespace fse {
namespace {

constexpr DType kAllDTypes[] = {DType::f32, DType::bf16, DType::f16, DType::fp8_block128};

// 5 routed experts and a shared one of 80 columns: three slots of 32, the last half padding.
LayerSpec ragged_layer(DType dtype) {
  LayerSpec layer = golden_layer("qwen2_moe", dtype);
  layer.routing.experts = 5;
  layer.intermediate = 32;
  layer.shared.shared_width = 80;
  return layer;
}

double rms(const WeightMatrix& m) {
  return std::sqrt(m.squaredNorm() / static_cast<double>(m.size()));
}

bool same(const WeightMatrix& a, const WeightMatrix& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && a == b;
}

bool same_expert(const LayerWeights& a, int expert_a, const LayerWeights& b, int expert_b) {
  return same(gate_matrix(a, expert_a), gate_matrix(b, expert_b)) &&
         same(up_matrix(a, expert_a), up_matrix(b, expert_b)) &&
         same(down_matrix(a, expert_a), down_matrix(b, expert_b));
}

TEST_CASE("random weights are seeded, scaled by fan-in, and finite") {
  for (const DType dtype : kAllDTypes) {
    CAPTURE(to_name(dtype));
    LayerSpec layer = golden_layer("glm4_moe_fp8_ragged", dtype);
    const Shard shard = make_shard(layer, 1, 0);
    const LayerWeights a = random_weights(layer, shard, 7)[0];
    const LayerWeights b = random_weights(layer, shard, 7)[0];
    const LayerWeights c = random_weights(layer, shard, 8)[0];
    for (int e = 0; e < layer.routing.experts + shard.slots; ++e) {
      CHECK(same_expert(a, e, b, e));
      CHECK(!same(gate_matrix(a, e), gate_matrix(c, e)));
      CHECK(!same(gate_matrix(a, e), up_matrix(a, e)));
      CHECK(gate_matrix(a, e).allFinite());
      CHECK(rms(gate_matrix(a, e)) * std::sqrt(320) == doctest::Approx(1).epsilon(0.3));
      CHECK(rms(up_matrix(a, e)) * std::sqrt(320) == doctest::Approx(1).epsilon(0.3));
      CHECK(rms(down_matrix(a, e)) * std::sqrt(192) == doctest::Approx(1).epsilon(0.3));
    }
    CHECK(rms(router_matrix(a, 0, 6)) * std::sqrt(320) == doctest::Approx(1).epsilon(0.1));
    CHECK(same(router_matrix(a, 2, 4), router_matrix(b, 2, 4)));
    for (int e = 0; e < 6; ++e) CHECK(std::fabs(a.selection_bias[e]) <= 0.05f);
    CHECK(a.selection_bias[0] != a.selection_bias[1]);
    CHECK(a.selection_bias[0] != c.selection_bias[0]);
  }
}

TEST_CASE("a layer without bias or scales has no pointer to them") {
  const LayerSpec layer = golden_layer("qwen3_next", DType::bf16);
  const LayerWeights w = random_weights(layer, make_shard(layer, 1, 0), 1)[0];
  CHECK(w.selection_bias == nullptr);
  CHECK(w.gate_up_scale == nullptr);
  CHECK(w.down_scale == nullptr);
  CHECK(router_matrix(w, 0, 17).rows() == 17);  // 16 experts and the shared gate
  CHECK_THROWS_AS(router_matrix(w, 0, 18), std::logic_error);
  CHECK_THROWS_AS(gate_matrix(w, 17), std::logic_error);
  CHECK_THROWS_AS(down_matrix(w, -1), std::logic_error);
}

TEST_CASE("router values are exact in bf16 unless the layer is f32") {
  for (const DType dtype : kAllDTypes) {
    const LayerSpec layer = golden_layer("qwen3_next", dtype);
    const WeightMatrix router =
        router_matrix(random_weights(layer, make_shard(layer, 1, 0), 1)[0], 0, 17);
    bool exact = true;
    for (const double v : router.reshaped())
      exact &= from_bf16(to_bf16(static_cast<float>(v))) == v;
    CHECK(exact == (dtype != DType::f32));
  }
}

// Where each set's expert 0 begins, as an expert index of the arena.
int64_t window(const std::vector<LayerWeights>& sets, size_t set) {
  const int64_t bytes = int64_t{2} * sets[0].shard.intermediate * sets[0].layer.hidden *
                        element_bytes(sets[0].layer.dtype);
  return (sets[set].gate_up - sets[0].gate_up) / bytes;
}

TEST_CASE("sets are disjoint where that is cheap, and share one router's values") {
  const LayerSpec layer = ragged_layer(DType::bf16);
  const auto sets = random_weights(layer, make_shard(layer, 1, 0), 3, 4);
  for (size_t r = 0; r < 4; ++r) {
    CHECK(window(sets, r) == static_cast<int64_t>(r) * 8);
    CHECK(same(router_matrix(sets[r], 0, 6), router_matrix(sets[0], 0, 6)));
    CHECK((r == 0 || sets[r].router != sets[0].router));
    CHECK((r == 0 || !same_expert(sets[r], 1, sets[0], 1)));
  }
}

TEST_CASE("sets overlap where memory is short, by whole experts") {
  for (const DType dtype : kAllDTypes) {
    CAPTURE(to_name(dtype));
    const LayerSpec layer = ragged_layer(dtype);
    const Shard shard = make_shard(layer, 1, 0);
    const auto sets = random_weights(layer, shard, 3, 3, 0);
    CHECK(window(sets, 2) == 2 * shard.slots);  // slots of two sets never coincide
    CHECK(same_expert(sets[0], shard.slots + 1, sets[1], 1));
    CHECK(same_expert(sets[1], shard.slots, sets[2], 0));
    const int64_t one = random_weights_bytes(layer, shard, 1);
    CHECK(random_weights_bytes(layer, shard, 3, 0) < 3 * one);
    CHECK(random_weights_bytes(layer, shard, 3) == 3 * one);
    CHECK(one == weight_bytes(layer, shard));
  }
}

TEST_CASE("the padding of the last slot is zero in every set") {
  for (const int64_t spare : {int64_t{0}, kRotationBytes})
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      CAPTURE(to_name(dtype));
      const LayerSpec layer = ragged_layer(dtype);
      for (const LayerWeights& w : random_weights(layer, make_shard(layer, 1, 0), 3, 5, spare)) {
        CHECK(gate_matrix(w, 7).bottomRows(16).isZero(0));
        CHECK(up_matrix(w, 7).bottomRows(16).isZero(0));
        CHECK(down_matrix(w, 7).rightCols(16).isZero(0));
        CHECK(!gate_matrix(w, 7).row(15).isZero(0));
        CHECK(!down_matrix(w, 7).col(15).isZero(0));
        CHECK(!gate_matrix(w, 6).row(31).isZero(0));
      }
    }
}

TEST_CASE("fp8 columns that only fill a scale block are zero in every expert of every set") {
  const LayerSpec layer = golden_layer("glm4_moe_fp8_ragged", DType::fp8_block128);
  for (int rank = 0; rank < 4; ++rank) {
    CAPTURE(rank);
    const Shard shard = make_shard(layer, 4, rank);
    const int begin = shard.routed.begin - shard.routed.stored_begin;
    const int end = shard.routed.end - shard.routed.stored_begin;
    for (const LayerWeights& w : random_weights(layer, shard, 5, 3, 0))
      for (int e = 0; e < 6 + shard.slots; ++e) {
        WeightMatrix gate = gate_matrix(w, e), down = down_matrix(w, e);
        CHECK(gate.topRows(begin).isZero(0));
        CHECK(gate.bottomRows(shard.intermediate - end).isZero(0));
        CHECK(down.leftCols(begin).isZero(0));
        CHECK(down.rightCols(shard.intermediate - end).isZero(0));
        CHECK(!gate.row(begin).isZero(0));
        CHECK(!down.col(end - 1).isZero(0));
      }
  }
}

TEST_CASE("a clone has the same values and its own memory") {
  for (const DType dtype : kAllDTypes) {
    const LayerSpec layer = golden_layer("glm4_moe", dtype);
    const LayerWeights w = random_weights(layer, make_shard(layer, 1, 0), 3, 2)[1];
    const LayerWeights copy = clone_weights(w);
    for (int e = 0; e < 11; ++e) CHECK(same_expert(w, e, copy, e));
    CHECK(same(router_matrix(w, 0, 10), router_matrix(copy, 0, 10)));
    CHECK(std::equal(w.selection_bias, w.selection_bias + 10, copy.selection_bias));
    std::memset(const_cast<std::byte*>(copy.gate_up), 0, 100);
    CHECK(!same(gate_matrix(w, 0), gate_matrix(copy, 0)));
  }
}

// The expert's (or all slots') contribution for one input, in float64.
Eigen::VectorXd evaluate(const LayerWeights& w, int first, int last, const Eigen::VectorXd& x) {
  Eigen::VectorXd sum = Eigen::VectorXd::Zero(w.layer.hidden);
  for (int e = first; e < last; ++e) {
    const Eigen::ArrayXd gate = gate_matrix(w, e) * x;
    const Eigen::ArrayXd up = up_matrix(w, e) * x;
    sum += down_matrix(w, e) * (gate / (1 + (-gate).exp()) * up).matrix();
  }
  return sum;
}

void check_ranks_sum_to_whole(const LayerWeights& whole, int tp) {
  const LayerSpec& layer = whole.layer;
  const int experts = layer.routing.experts;
  const Eigen::VectorXd x = Eigen::VectorXd::LinSpaced(layer.hidden, -1, 2);
  std::vector<LayerWeights> ranks;
  for (int rank = 0; rank < tp; ++rank) ranks.push_back(shard_weights(whole, tp, rank));
  for (int e = 0; e <= experts; ++e) {
    CAPTURE(e);
    const auto last = [&](const LayerWeights& w) {
      return e < experts ? e + 1 : e + w.shard.slots;
    };
    const Eigen::VectorXd want = evaluate(whole, e, last(whole), x);
    Eigen::VectorXd got = Eigen::VectorXd::Zero(layer.hidden);
    for (const LayerWeights& rank : ranks) got += evaluate(rank, e, last(rank), x);
    CHECK((got - want).norm() <= 1e-12 * want.norm());
    CHECK((want.norm() > 0 || !layer.has_shared()));
  }
  for (const LayerWeights& rank : ranks)
    CHECK(same(router_matrix(rank, 0, experts), router_matrix(whole, 0, experts)));
}

TEST_CASE("the ranks of a layer add up to the whole layer") {
  for (const GoldenLayer& golden : golden_layers())
    for (const DType dtype : kAllDTypes)
      for (const int tp : {1, 2, 4, 8}) {
        CAPTURE(golden.folder);
        CAPTURE(to_name(dtype));
        CAPTURE(tp);
        LayerSpec layer = golden.layer;
        layer.dtype = dtype;
        layer.routing.experts = 2;
        layer.routing.top_k = layer.routing.groups = layer.routing.groups_kept = 1;
        check_ranks_sum_to_whole(random_weights(layer, make_shard(layer, 1, 0), 11)[0], tp);
      }
}

TEST_CASE("ranks of fp8 layers with shared experts of other widths add up, too") {
  // routed 192, shared: narrower, twice as wide, ragged; slots are then whole scale blocks.
  for (const int shared_width : {64, 384, 448})
    for (const int tp : {1, 2, 4}) {
      CAPTURE(shared_width);
      CAPTURE(tp);
      LayerSpec layer = golden_layer("glm4_moe_fp8_ragged", DType::fp8_block128);
      layer.routing.experts = 2;
      layer.shared.shared_width = shared_width;
      const LayerWeights whole = random_weights(layer, make_shard(layer, 1, 0), 13)[0];
      check_ranks_sum_to_whole(whole, tp);
    }
}

TEST_CASE("a shard's rows are the whole layer's rows, bit by bit") {
  for (const DType dtype : {DType::bf16, DType::fp8_block128}) {
    const LayerSpec layer = golden_layer("glm4_moe_fp8_ragged", dtype);
    const LayerWeights whole = random_weights(layer, make_shard(layer, 1, 0), 17)[0];
    const WeightMatrix up = up_matrix(whole, 2), down = down_matrix(whole, 2);
    for (int rank = 0; rank < 2; ++rank) {
      const LayerWeights part = shard_weights(whole, 2, rank);
      const int offset = part.shard.routed.begin - part.shard.routed.stored_begin;
      CHECK(part.shard.intermediate == (dtype == DType::bf16 ? 96 : rank == 0 ? 128 : 192));
      CHECK(same(up_matrix(part, 2).middleRows(offset, 96), up.middleRows(rank * 96, 96)));
      CHECK(same(down_matrix(part, 2).middleCols(offset, 96), down.middleCols(rank * 96, 96)));
    }
  }
}

TEST_CASE("a layer larger than any memory is an error, not an overflow") {
  LayerSpec layer = golden_layer("qwen3_next", DType::f32);
  layer.hidden = layer.intermediate = layer.routing.experts = 2'000'000'000;
  try {
    random_weights(layer, make_shard(layer, 1, 0), 1);
    FAIL("expected an error");
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::environment);
  }
}

}  // namespace
}  // namespace fse
