#pragma once
#include <cstdint>

#include "core/plan.h"

namespace fse {

// A matrix product as a vendor's library is asked for it: out[token][row] = alpha * the sum over
// depth of weights[row][d] * in[token][d], in f32, or that added to what `out` holds. Strides are
// elements from row to row.
struct Product {
  const void* weights;
  const void* in;
  void* out;
  int rows, tokens, depth;
  int64_t weights_stride, in_stride, out_stride;
  Element element;      // of weights and in: bf16 or f16
  Element out_element;  // that, or f32
  float alpha = 1;
  bool add = false;
};

// The plain sums, in host memory: what an emulated device has for a library.
void multiply_on_host(const Product&);

}  // namespace fse
