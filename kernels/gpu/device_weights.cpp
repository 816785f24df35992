#include "kernels/gpu/device_weights.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/weights_layout.h"

namespace fse {

namespace {

constexpr std::byte kMinusZero{0x80};

void codes_to_fnuz(std::span<std::byte> codes) {
  for (std::byte& code : codes) {
    if ((code & std::byte{0x7f}) == std::byte{0x7f})
      fail_data(fmt::format("weight code {:#04x} is NaN as e4m3, expected a number",
                            std::to_integer<int>(code)));
    if (code == kMinusZero) code = std::byte{0};
  }
}

void double_scales(std::span<std::byte> bytes) {
  for (size_t at = 0; at < bytes.size(); at += sizeof(float)) {
    float scale;
    std::memcpy(&scale, bytes.data() + at, sizeof scale);
    scale *= 2;
    if (!std::isfinite(scale))
      fail_data(fmt::format("weight scale {} cannot be doubled, which e4m3fnuz needs", scale / 2));
    std::memcpy(bytes.data() + at, &scale, sizeof scale);
  }
}

}  // namespace

std::vector<WeightPart> weight_parts(const LayerWeights& w) {
  using Kind = WeightPart::Kind;
  const WeightsLayout l = weights_layout(w.layer, w.shard);
  const Kind elements = w.layer.dtype == DType::fp8_block128 ? Kind::codes : Kind::plain;
  std::vector<WeightPart> parts;
  const auto add = [&](Kind kind, const void* begin, int64_t bytes) {
    if (begin && bytes > 0) parts.push_back({kind, static_cast<const std::byte*>(begin), bytes});
  };
  add(Kind::plain, w.router, l.router_bytes);
  add(Kind::plain, w.selection_bias, l.bias_bytes);
  add(elements, w.gate_up, l.indices * l.gate_up_elements() * l.element_bytes);
  add(elements, w.down, l.indices * l.down_elements() * l.element_bytes);
  add(Kind::scales, w.gate_up_scale, l.indices * l.gate_up_scales() * 4);
  add(Kind::scales, w.down_scale, l.indices * l.down_scales() * 4);
  return parts;
}

void convert_part(WeightPart::Kind kind, Fp8 format, std::span<std::byte> bytes) {
  if (format != Fp8::e4m3fnuz) return;
  if (kind == WeightPart::Kind::codes) codes_to_fnuz(bytes);
  if (kind == WeightPart::Kind::scales) double_scales(bytes);
}

LayerWeights device_weights(const LayerWeights& weights, Fp8 format) {
  if (format != Fp8::e4m3fnuz || weights.layer.dtype != DType::fp8_block128) return weights;
  LayerWeights copy = clone_weights(weights);
  for (const WeightPart& part : weight_parts(copy))
    convert_part(part.kind, format, {writable(part.begin), static_cast<size_t>(part.bytes)});
  return copy;
}

}  // namespace fse
