#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tuner/verify.h"

namespace fse {

// What an independent implementation makes of a layer: golden.safetensors, laid out as in
// tests/golden/README.md.
struct GoldenAnswer {
  Matrix input;                   // [tokens, hidden]
  Matrix logits;                  // [tokens, experts]
  Matrix ids, weights;            // [tokens, top_k], the weights final
  Matrix routed_out, shared_out;  // [tokens, hidden]; the shared part after its gate
  Matrix out;                     // [tokens, hidden]
};

// Throws Error(data) naming file, tensor and element for shapes that are not the layer's, values
// that are not finite, and ids that are no expert or twice in a row.
GoldenAnswer read_golden(const std::filesystem::path& file, const LayerSpec&);

// Its module computes routing weights in float32, see tests/golden/README.md: no tighter than that.
inline constexpr double kGoldenTolerance = 1e-5;

// The reference against it: logits, the chosen sets where no near tie decides, then weights and
// outputs on the golden ids. The worst of all; the first reason names the part.
Accuracy compare_golden(LayerReference&, const LayerPlan&, const float* selection_bias,
                        const GoldenAnswer&);

}  // namespace fse
