#include "kernels/product.h"

#include "core/dtype.h"

namespace fse {
namespace {

float load(const void* from, Element element, int64_t at) {
  if (element == Element::f32) return static_cast<const float*>(from)[at];
  const uint16_t bits = static_cast<const uint16_t*>(from)[at];
  return element == Element::f16 ? from_f16(bits) : from_bf16(bits);
}

void store(void* to, Element element, int64_t at, float value) {
  if (element == Element::f32)
    static_cast<float*>(to)[at] = value;
  else
    static_cast<uint16_t*>(to)[at] = element == Element::f16 ? to_f16(value) : to_bf16(value);
}

}  // namespace

void multiply_on_host(const Product& p) {
  for (int64_t t = 0; t < p.tokens; ++t)
    for (int64_t r = 0; r < p.rows; ++r) {
      float sum = 0;
      for (int d = 0; d < p.depth; ++d)
        sum += load(p.weights, p.element, r * p.weights_stride + d) *
               load(p.in, p.element, t * p.in_stride + d);
      const int64_t at = t * p.out_stride + r;
      sum *= p.alpha;
      store(p.out, p.out_element, at, p.add ? sum + load(p.out, p.out_element, at) : sum);
    }
}

}  // namespace fse
