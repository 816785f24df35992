#include "core/layer_spec.h"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <functional>
#include <set>

#include "core/error.h"

namespace fse {
namespace {

LayerSpec layer(int intermediate, int shared_width, DType dtype) {
  LayerSpec spec;
  spec.model = "mine";
  spec.hidden = 256;
  spec.intermediate = intermediate;
  spec.routing.experts = 16;
  spec.routing.top_k = 4;
  spec.shared.count = shared_width > 0;
  spec.shared.shared_width = shared_width;
  spec.dtype = dtype;
  return spec;
}

void check_range(const AxisRange& range, int begin, int end, int stored_begin, int stored_end) {
  CHECK(range.begin == begin);
  CHECK(range.end == end);
  CHECK(range.stored_begin == stored_begin);
  CHECK(range.stored_end == stored_end);
}

void check_slots(const LayerSpec& spec, int tp, int rank, int intermediate, int slots) {
  CAPTURE(tp);
  CAPTURE(rank);
  const Shard shard = make_shard(spec, tp, rank);
  CHECK(shard.intermediate == intermediate);
  CHECK(shard.slots == slots);
}

std::string error_of(const std::function<void()>& action, bool refused) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    CHECK((dynamic_cast<const Refused*>(&error) != nullptr) == refused);
    return error.what();
  }
  return "no error";
}

std::string invalid(const std::function<void(LayerSpec&)>& change) {
  LayerSpec spec = layer(32, 32, DType::bf16);
  change(spec);
  return error_of([&] { validate(spec); }, false);
}

}  // namespace

TEST_CASE("a bf16 shard stores what it owns") {
  const Shard shard = make_shard(layer(512, 512, DType::bf16), 8, 3);
  check_range(shard.routed, 192, 256, 192, 256);
  check_range(shard.shared, 192, 256, 192, 256);
  CHECK(shard.intermediate == 64);
  CHECK(shard.slots == 1);
}

TEST_CASE("an fp8 shard inside a scale block stores the whole block: Qwen3-Next at tp 8") {
  const LayerSpec spec = layer(512, 512, DType::fp8_block128);
  check_range(make_shard(spec, 8, 0).routed, 0, 64, 0, 128);
  check_range(make_shard(spec, 8, 1).routed, 64, 128, 0, 128);
  check_range(make_shard(spec, 8, 7).routed, 448, 512, 384, 512);
  check_slots(spec, 8, 1, 128, 1);
}

TEST_CASE("an fp8 shard across a block's edge is extended on the side it cuts: GLM at tp 8") {
  const LayerSpec spec = layer(1536, 1536, DType::fp8_block128);
  check_range(make_shard(spec, 8, 0).routed, 0, 192, 0, 256);
  check_range(make_shard(spec, 8, 1).routed, 192, 384, 128, 384);
  check_range(make_shard(spec, 8, 2).routed, 384, 576, 384, 640);
  check_slots(spec, 8, 1, 256, 1);
}

TEST_CASE("the checkpoint's own ragged last block is not extended") {
  check_range(make_shard(layer(192, 0, DType::fp8_block128), 1, 0).routed, 0, 192, 0, 192);
  check_range(make_shard(layer(192, 0, DType::fp8_block128), 2, 1).routed, 96, 192, 0, 192);
}

TEST_CASE("a wide shared expert becomes slots: Qwen1.5-MoE") {
  const LayerSpec bf16 = layer(1408, 5632, DType::bf16);
  check_slots(bf16, 1, 0, 1408, 4);
  check_slots(bf16, 2, 1, 704, 4);
  check_slots(bf16, 4, 3, 352, 4);
  const LayerSpec fp8 = layer(1408, 5632, DType::fp8_block128);
  check_slots(fp8, 1, 0, 1408, 4);
  // 0..704 is stored as 0..768; the shared 0..2816 fills 3.7 of such slots.
  check_slots(fp8, 2, 0, 768, 4);
  check_slots(fp8, 2, 1, 768, 4);
  // 0..352 is stored as 0..384, but 352..704 as 256..768: there 1408 fills 2.75 slots.
  check_slots(fp8, 4, 0, 384, 4);
  check_slots(fp8, 4, 1, 512, 3);
}

TEST_CASE("slots of a ragged fp8 layer begin on the scale grid") {
  // 192 wide, two of them shared: 384 in slots of 256, not of 192.
  check_slots(layer(192, 384, DType::fp8_block128), 1, 0, 256, 2);
  check_slots(layer(192, 192, DType::fp8_block128), 1, 0, 192, 1);
  check_slots(layer(192, 384, DType::bf16), 1, 0, 192, 2);
}

TEST_CASE("a layer without a shared expert has no slots") {
  const Shard shard = make_shard(layer(512, 0, DType::fp8_block128), 4, 2);
  CHECK(shard.slots == 0);
  CHECK(shard.shared.stored() == 0);
}

TEST_CASE("a tp degree that does not divide a width is refused") {
  const auto refused = [](const LayerSpec& spec, int tp) {
    return error_of([&] { make_shard(spec, tp, 0); }, true);
  };
  CHECK(refused(layer(512, 0, DType::bf16), 3).starts_with("refused: tp=3: intermediate 512"));
  CHECK(refused(layer(512, 96, DType::bf16), 64).starts_with("refused: tp=64: shared_width 96"));
  CHECK(
      error_of([] { make_shard(layer(512, 0, DType::bf16), 0, 0); }, false).starts_with("tp is 0"));
}

TEST_CASE("ranks partition the axis, and what they store lies on the block grid") {
  CHECK(rc::check([] {
    const int tp = *rc::gen::element(1, 2, 3, 4, 8, 16);
    const int width = tp * *rc::gen::inRange(1, 400);
    const int shared = tp * *rc::gen::inRange(0, 1600);
    const DType dtype = *rc::gen::element(DType::bf16, DType::fp8_block128);
    const LayerSpec spec = layer(width, shared, dtype);
    int routed_end = 0, shared_end = 0;
    for (int rank = 0; rank < tp; ++rank) {
      const Shard shard = make_shard(spec, tp, rank);
      RC_ASSERT(shard.routed.begin == routed_end);
      RC_ASSERT(shard.shared.begin == shared_end);
      routed_end = shard.routed.end;
      shared_end = shard.shared.end;
      for (const auto& [range, axis] : {std::pair(shard.routed, width), {shard.shared, shared}}) {
        RC_ASSERT(range.stored_begin <= range.begin);
        RC_ASSERT(range.stored_end >= range.end);
        RC_ASSERT(range.begin - range.stored_begin < kScaleBlock);
        RC_ASSERT(range.stored_end - range.end < kScaleBlock);
        if (dtype != DType::fp8_block128) continue;
        RC_ASSERT(range.stored_begin % kScaleBlock == 0);
        RC_ASSERT(range.stored_end % kScaleBlock == 0 || range.stored_end == axis);
      }
      RC_ASSERT(shard.intermediate >= shard.routed.stored());
      RC_ASSERT(shard.slots * shard.intermediate >= shard.shared.stored());
      if (shard.slots > 0)
        RC_ASSERT((shard.slots - 1) * shard.intermediate < shard.shared.stored());
      if (dtype == DType::fp8_block128 && shard.slots > 1)
        RC_ASSERT(shard.intermediate % kScaleBlock == 0);
    }
    RC_ASSERT(routed_end == width);
    RC_ASSERT(shared_end == shared);
  }));
}

TEST_CASE("a field out of range is named with what was expected") {
  CHECK(invalid([](LayerSpec&) {}) == "no error");
  CHECK(invalid([](LayerSpec& s) { s.hidden = 0; }) == "mine: hidden is 0, expected at least 1");
  CHECK(invalid([](LayerSpec& s) { s.routing.top_k = 17; }) ==
        "mine: top_k is 17, expected 1 to experts = 16");
  CHECK(invalid([](LayerSpec& s) { s.routing.groups = 3; }) ==
        "mine: groups is 3, expected a divisor of experts = 16");
  CHECK(invalid([](LayerSpec& s) {
          s.routing.groups = 8;
          s.routing.groups_kept = 1;
        }) == "mine: top_k is 4, but the 1 kept groups hold only 2 experts");
  CHECK(invalid([](LayerSpec& s) { s.intermediate = -1; }).starts_with("mine: intermediate is -1"));
  CHECK(invalid([](LayerSpec& s) {
          s.shared.shared_width = -1;
        }).starts_with("mine: shared_width is -1"));
}

TEST_CASE("every field that changes the arithmetic changes the canonical text, the name does not") {
  const LayerSpec base = layer(32, 32, DType::bf16);
  const std::function<void(LayerSpec&)> changes[] = {
      [](LayerSpec& s) { s.hidden = 128; },
      [](LayerSpec& s) { s.intermediate = 64; },
      [](LayerSpec& s) { s.routing.experts = 32; },
      [](LayerSpec& s) { s.routing.top_k = 3; },
      [](LayerSpec& s) { s.routing.score = ScoreFunction::sigmoid; },
      [](LayerSpec& s) { s.routing.selection_bias = true; },
      [](LayerSpec& s) { s.routing.groups = 4; },
      [](LayerSpec& s) { s.routing.groups_kept = 2; },
      [](LayerSpec& s) { s.routing.group_score = GroupScore::sum_of_top2; },
      [](LayerSpec& s) { s.routing.renormalize = true; },
      [](LayerSpec& s) { s.routing.scaling = 2.827; },
      [](LayerSpec& s) { s.shared.count = 2; },
      [](LayerSpec& s) { s.shared.shared_width = 64; },
      [](LayerSpec& s) { s.shared.weight = SharedWeight::sigmoid_gate; },
      [](LayerSpec& s) { s.shared.constant = 0.5; },
      [](LayerSpec& s) { s.dtype = DType::fp8_block128; },
      [](LayerSpec& s) { s.activations = Activations::fp8; },
  };
  std::set<std::string> texts{canonical_text(base)};
  for (const auto& change : changes) {
    LayerSpec changed = base;
    change(changed);
    texts.insert(canonical_text(changed));
  }
  CHECK(texts.size() == std::size(changes) + 1);
  LayerSpec renamed = base;
  renamed.model = "another";
  CHECK(canonical_text(renamed) == canonical_text(base));
}

TEST_CASE("a gate row exists only where a shared expert is gated") {
  LayerSpec spec = layer(32, 32, DType::bf16);
  CHECK(spec.gate_rows() == 0);
  spec.shared.weight = SharedWeight::sigmoid_gate;
  CHECK(spec.gate_rows() == 1);
  spec.shared.shared_width = 0;
  CHECK(spec.gate_rows() == 0);
}

}  // namespace fse
