#pragma once
#include <cstdint>
#include <string>

namespace fse {

// out[i] = silu(gate[i]) * up[i]
void silu_mul(const float* gate, const float* up, float* out, int64_t n);
void scale_to(const float* in, float weight, float* out, int64_t n);  // out[i] = weight * in[i]
void add_to(const float* in, float* out, int64_t n);                  // out[i] += in[i]
void sigmoid(const float* in, float* out, int64_t n);
// Scores of one row by the rule of core/routing.h: a NaN logit keeps a NaN score.
void softmax(const float* in, float* out, int64_t n);

// The SIMD target in use, by Highway's name: AVX2, AVX3_DL, NEON, SCALAR, ...
std::string simd_target();

}  // namespace fse
