#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/weights.h"

namespace fse {

// The fp8 that an architecture's matrix units multiply: OCP's e4m3fn, gfx942's e4m3fnuz, or none.
enum class Fp8 { none, e4m3fn, e4m3fnuz };
Fp8 fp8_of(const std::string& arch);

// What LayerWeights points to, piece by piece.
struct WeightPart {
  enum class Kind { plain, codes, scales } kind;
  const std::byte* begin;
  int64_t bytes;
};
std::vector<WeightPart> weight_parts(const LayerWeights&);

// A copied piece (or part of one) as the device wants it. Checkpoints have e4m3fn; read as e4m3fnuz
// the same bits are worth half, so codes stay and scales double, which is exact; -0, which is NaN
// there, becomes 0. Throws Error(data) for NaN, which has no code left, and for a scale that
// doubles to infinity.
void convert_part(WeightPart::Kind, Fp8, std::span<std::byte>);

// The same for a whole set; nothing is copied where nothing changes.
LayerWeights device_weights(const LayerWeights&, Fp8);

}  // namespace fse
