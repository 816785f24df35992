// Contribution probes through the cpu kernels: a part of the layer is changed on purpose, and the
// output must move by the amount that follows, for every variant.
#include <doctest/doctest.h>

#include <cstring>

#include "tests/kernels/cpu_fixture.h"

using namespace fse;
using fse::test::to_matrix;

namespace {

constexpr int kTokens = 5;

LayerSpec layer_of(double scaling, SharedWeight weight, DType dtype = DType::f32) {
  LayerSpec layer = test::layer_of({136, 48, 8, 2, 120}, dtype);  // 3 slots, the last half empty
  layer.routing.score = ScoreFunction::sigmoid;
  layer.routing.scaling = scaling;
  layer.shared.weight = weight;
  return layer;
}

LayerWeights weights_of(const LayerSpec& layer) {
  return random_weights(layer, make_shard(layer, 1, 0), 41).front();
}

LayerWeights without_shared(const LayerWeights& weights) {
  LayerWeights zeroed = clone_weights(weights);
  const int64_t down = int64_t{weights.layer.hidden} * weights.shard.intermediate *
                       element_bytes(weights.layer.dtype);
  auto* bytes = const_cast<std::byte*>(zeroed.down) + weights.layer.routing.experts * down;
  std::memset(bytes, 0, static_cast<size_t>(weights.shard.slots * down));
  return zeroed;
}

// One layer on the cpu with a variant's default kernels.
struct Run {
  LayerPlan plan;
  std::unique_ptr<Session> session;
  std::vector<Choice> choices;

  Run(Backend& backend, const LayerWeights& weights, const Variant& variant,
      const std::vector<float>& x)
      : plan(make_plan(weights.layer, weights.shard, variant,
                       static_cast<int>(x.size()) / weights.layer.hidden, backend.device())),
        session(backend.open(plan, {weights})),
        choices(default_choices(plan, backend.device())) {
    session->set_input(x);
  }
  Matrix out() {
    session->poison_buffers();
    session->run(choices, 0);
    return session->read(Buf::out);
  }
};

std::vector<Variant> legal_variants(const LayerSpec& layer, const Backend& backend) {
  std::vector<Variant> legal;
  for (const Variant& v : all_variants())
    if (check(layer, v, backend.device()).empty()) legal.push_back(v);
  REQUIRE(!legal.empty());
  return legal;
}

// What the layer is in float64, and how far f32 kernels may be from it in absolute terms.
struct Truth {
  Matrix out;
  double error;
};
Truth truth_of(const LayerWeights& weights, const Run& run, const std::vector<float>& x) {
  const Matrix out = run_reference(run.plan, weights, to_matrix(x, run.plan.tokens))[Buf::out];
  return {out, layer_tolerance(run.plan) * out.norm()};
}

}  // namespace

TEST_CASE("a zeroed shared expert takes exactly its contribution out of the output") {
  const auto backend = open_backend("cpu");
  for (SharedWeight weight : {SharedWeight::constant, SharedWeight::sigmoid_gate}) {
    const LayerSpec layer = layer_of(2.5, weight);
    const LayerWeights whole = weights_of(layer), zeroed = without_shared(whole);
    const std::vector<float> x = random_input(kTokens, layer.hidden, 3);
    for (const Variant& variant : legal_variants(layer, *backend)) {
      CAPTURE(to_label(variant));
      Run full(*backend, whole, variant, x), bare(*backend, zeroed, variant, x);
      const Truth with = truth_of(whole, full, x), without = truth_of(zeroed, bare, x);
      const Matrix moved = full.out() - bare.out(), want = with.out - without.out;
      REQUIRE(want.norm() > 0.1 * with.out.norm());
      CHECK((moved - want).norm() <= with.error + without.error);
      CHECK(with.error + without.error < 1e-3 * want.norm());
    }
  }
}

TEST_CASE("the scaling factor multiplies the routed part once, and never the shared expert") {
  const auto backend = open_backend("cpu");
  for (SharedWeight weight : {SharedWeight::constant, SharedWeight::sigmoid_gate})
    for (double scaling : {2.5, 2.827}) {
      const LayerWeights plain = weights_of(layer_of(1, weight));
      LayerWeights scaled = plain;
      scaled.layer.routing.scaling = scaling;
      const LayerWeights routed_only = without_shared(plain);
      const std::vector<float> x = random_input(kTokens, plain.layer.hidden, 4);
      for (const Variant& variant : legal_variants(plain.layer, *backend)) {
        CAPTURE(to_label(variant));
        CAPTURE(scaling);
        Run before(*backend, plain, variant, x), after(*backend, scaled, variant, x);
        const Truth routed = truth_of(routed_only, before, x);
        const double error = truth_of(plain, before, x).error + truth_of(scaled, after, x).error;
        const Matrix moved = after.out() - before.out();
        CHECK((moved - (scaling - 1) * routed.out).norm() <= error);
        CHECK(error < 1e-3 * moved.norm());
      }
    }
}

TEST_CASE("a token that only one expert wants gets that expert's output, scaled") {
  const auto backend = open_backend("cpu");
  LayerSpec layer = layer_of(2.5, SharedWeight::constant);
  layer.routing.top_k = 1;
  const LayerWeights weights = without_shared(weights_of(layer));
  for (int favourite = 0; favourite < layer.routing.experts; ++favourite) {
    const std::vector<float> planted = plant_input(weights, Matrix::Constant(1, 1, favourite), 1);
    const Matrix x = to_matrix(planted, 1);
    const Matrix gate = x * gate_matrix(weights, favourite).transpose();
    const Matrix up = x * up_matrix(weights, favourite).transpose();
    const Matrix h = (gate.array() / (1 + (-gate.array()).exp()) * up.array()).matrix();
    const Matrix want = 2.5 * h * down_matrix(weights, favourite).transpose();
    for (const Variant& variant : legal_variants(layer, *backend)) {
      CAPTURE(to_label(variant));
      CAPTURE(favourite);
      Run run(*backend, weights, variant, planted);
      CHECK(test::relative_error(run.out(), want) <= layer_tolerance(run.plan));
      CHECK(run.session->read(Buf::topk_ids)(0, 0) == favourite);
      // One expert, renormalised: its weight is the scaling factor itself.
      CHECK(run.session->read(Buf::topk_weights)(0, 0) == 2.5);
    }
  }
}

TEST_CASE("a layer with a zeroed shared expert equals one that never had it, bit for bit") {
  const auto backend = open_backend("cpu");
  for (DType dtype : {DType::f32, DType::bf16, DType::fp8_block128})
    for (SharedWeight weight : {SharedWeight::constant, SharedWeight::sigmoid_gate}) {
      LayerSpec layer = layer_of(2.5, weight, dtype);
      layer.intermediate = 128;  // so that fp8 experts are as wide without the shared one's slots
      layer.shared.shared_width = 320;
      LayerSpec never = layer;
      never.shared = {};
      const LayerWeights zeroed = without_shared(weights_of(layer)), none = weights_of(never);
      REQUIRE(gate_matrix(zeroed, 7) == gate_matrix(none, 7));
      REQUIRE(router_matrix(zeroed, 0, 8) == router_matrix(none, 0, 8));
      for (int tokens : {1, 33}) {
        const std::vector<float> x = random_input(tokens, layer.hidden, 6);
        for (Topk topk : {Topk::unfused, Topk::fused}) {
          const Matrix want = Run(*backend, none, {.topk = topk, .shared = Shared::none}, x).out();
          REQUIRE(want.allFinite());
          for (const Variant& variant : legal_variants(layer, *backend)) {
            if (variant.topk != topk) continue;
            CAPTURE(to_name(dtype));
            CAPTURE(to_label(variant));
            CHECK(Run(*backend, zeroed, variant, x).out() == want);
          }
        }
      }
    }
}

TEST_CASE("a run leaves its input alone, and a repeated run gives the same bits") {
  const auto backend = open_backend("cpu");
  for (DType dtype : {DType::f32, DType::bf16, DType::fp8_block128})
    for (int tokens : {1, 17}) {
      const LayerSpec layer = layer_of(2.5, SharedWeight::sigmoid_gate, dtype);
      const LayerWeights weights = weights_of(layer);
      const std::vector<float> x = random_input(tokens, layer.hidden, 8);
      for (const Variant& variant : legal_variants(layer, *backend)) {
        CAPTURE(to_name(dtype));
        CAPTURE(to_label(variant));
        Run run(*backend, weights, variant, x);
        const Matrix first = run.out();
        REQUIRE(first.allFinite());
        for (int round = 0; round < 3; ++round) CHECK(run.out() == first);
        CHECK(run.session->read(Buf::x) == to_matrix(x, tokens));
      }
    }
}
