#pragma once
#include <string>

#include "core/safetensors.h"
#include "core/weights_layout.h"

namespace fse {

// A tensor under the name that messages give it.
struct NamedTensor {
  std::string name;
  TensorView view;
};

// Throws Error(data) "FILE: tensor 'NAME': what".
[[noreturn]] void fail_tensor(const NamedTensor&, const std::string& what);
void require_shape(const NamedTensor&, const std::vector<int64_t>& expected);

// A checkpoint's F32, F16 or BF16 tensor of this shape in another 16- or 32-bit type.
void convert_elements(const NamedTensor&, const std::vector<int64_t>& shape, DType to,
                      std::byte* out);

// A projection [rows, cols] in the layer's dtype. F8_E4M3 needs `scale`, F32 or BF16, one per
// 128x128 block; to fp8_block128 it keeps codes and scales bit by bit. Other tensors become
// fp8_block128 with scale = largest magnitude / 448 per block. Throws Error(data) naming the tensor
// for a wrong shape or dtype, a missing or extra scale, NaN or infinity, and overflow of the dtype.
ExpertMatrix convert_matrix(const NamedTensor& weight, const NamedTensor* scale, int rows, int cols,
                            DType to);

}  // namespace fse
