// A library with the interface of cuBLASLt or hipBLASLt, as their documentation has it, that
// multiplies in the host's memory: PREFIX and the vendor's numbers are given by who includes it. It
// refuses what it does not know, so that a wrong number is found.
#include <cstdint>
#include <cstring>

#include "core/dtype.h"

namespace {

struct Matrix {
  int type;
  uint64_t rows, columns;
  int64_t stride;  // from column to column
};
struct MatmulDesc {
  int compute_type, scale_type;
  int transpose_a;
};
struct Preference {
  uint64_t workspace;
  uint32_t alignments[4];
};
struct Algorithm {
  unsigned char data[ALGORITHM_BYTES];
};
struct Heuristic {
  Algorithm algo;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

constexpr int kInvalid = 7, kNotSupported = 15;

float load(const void* from, int type, int64_t at) {
  if (type == 0) return static_cast<const float*>(from)[at];
  const uint16_t bits = static_cast<const uint16_t*>(from)[at];
  return type == 14 ? fse::from_bf16(bits) : fse::from_f16(bits);
}
void store(void* to, int type, int64_t at, float value) {
  if (type == 0)
    static_cast<float*>(to)[at] = value;
  else
    static_cast<uint16_t*>(to)[at] = type == 14 ? fse::to_bf16(value) : fse::to_f16(value);
}

template <class T>
int destroy(void* object) {
  delete static_cast<T*>(object);
  return 0;
}

}  // namespace

#define JOIN2(a, b) a##b
#define JOIN(a, b) JOIN2(a, b)
#define NAME(function) JOIN(PREFIX, function)

extern "C" {
int NAME(Create)(void** handle) {
  *handle = new int(0);
  return 0;
}
int NAME(Destroy)(void* handle) {
  return destroy<int>(handle);
}
int NAME(MatrixLayoutCreate)(void** m, int type, uint64_t rows, uint64_t columns, int64_t stride) {
  if (stride < static_cast<int64_t>(rows)) return kInvalid;
  *m = new Matrix{type, rows, columns, stride};
  return 0;
}
int NAME(MatrixLayoutDestroy)(void* m) {
  return destroy<Matrix>(m);
}
int NAME(MatmulDescCreate)(void** desc, int compute_type, int scale_type) {
  if (compute_type != COMPUTE_F32 || scale_type != 0) return kInvalid;
  *desc = new MatmulDesc{compute_type, scale_type, 0};
  return 0;
}
int NAME(MatmulDescDestroy)(void* desc) {
  return destroy<MatmulDesc>(desc);
}
int NAME(MatmulDescSetAttribute)(void* desc, int attribute, const void* value, size_t bytes) {
  if (attribute != TRANSPOSE_A || bytes != 4) return kInvalid;
  std::memcpy(&static_cast<MatmulDesc*>(desc)->transpose_a, value, 4);
  return 0;
}
int NAME(MatmulPreferenceCreate)(void** preference) {
  *preference = new Preference{0, {256, 256, 256, 256}};
  return 0;
}
int NAME(MatmulPreferenceDestroy)(void* preference) {
  return destroy<Preference>(preference);
}
int NAME(MatmulPreferenceSetAttribute)(void* preference, int attribute, const void* value,
                                       size_t bytes) {
  auto& p = *static_cast<Preference*>(preference);
  if (attribute == 1 && bytes == 8) return std::memcpy(&p.workspace, value, 8), 0;
  if (!HAS_ALIGNMENTS || attribute < 5 || attribute > 8 || bytes != 4) return kInvalid;
  std::memcpy(&p.alignments[attribute - 5], value, 4);
  return 0;
}
// Three algorithms, of which the second needs 1 MB; the third answers with bits flipped in its
// first byte of data, to show which one was chosen.
int NAME(MatmulAlgoGetHeuristic)(void*, void* desc, void* a, void* b, void*, void* d,
                                 void* preference, int most, void* results, int* count) {
  const auto &A = *static_cast<Matrix*>(a), &B = *static_cast<Matrix*>(b),
             &D = *static_cast<Matrix*>(d);
  if (static_cast<MatmulDesc*>(desc)->transpose_a != TRANSPOSED) return kInvalid;
  if (A.rows != B.rows || A.columns != D.rows || B.columns != D.columns) return kInvalid;
  if (A.type != B.type || (D.type != 0 && D.type != A.type)) return kNotSupported;
  *count = 0;
  for (unsigned char i = 0; i < 3 && *count < most; ++i) {
    const size_t workspace = i == 1 ? size_t{1} << 20 : 0;
    if (workspace > static_cast<Preference*>(preference)->workspace) continue;
    Heuristic& h = static_cast<Heuristic*>(results)[(*count)++];
    h = {{}, workspace, 0, 1, {}};
    h.algo.data[0] = i;
    h.algo.data[ALGORITHM_BYTES - 1] = 0x5a;
  }
  return 0;
}
int NAME(Matmul)(void*, void*, const void* alpha, const void* A, void* a, const void* B, void* b,
                 const void* beta, const void* C, void* c, void* D, void* d, const void* algo,
                 void* workspace, size_t bytes, void*) {
  const auto &ma = *static_cast<Matrix*>(a), &mb = *static_cast<Matrix*>(b),
             &mc = *static_cast<Matrix*>(c), &md = *static_cast<Matrix*>(d);
  const auto& algorithm = *static_cast<const Algorithm*>(algo);
  if (algorithm.data[ALGORITHM_BYTES - 1] != 0x5a) return kInvalid;
  if (algorithm.data[0] == 1 && (!workspace || bytes < size_t{1} << 20)) return kInvalid;
  const float scale = algorithm.data[0] == 2 ? -1 : 1;
  float alpha_value, beta_value;
  std::memcpy(&alpha_value, alpha, 4);
  std::memcpy(&beta_value, beta, 4);
  for (uint64_t n = 0; n < md.columns; ++n)
    for (uint64_t m = 0; m < md.rows; ++m) {
      float sum = 0;
      for (uint64_t k = 0; k < ma.rows; ++k)
        sum += load(A, ma.type, static_cast<int64_t>(m) * ma.stride + static_cast<int64_t>(k)) *
               load(B, mb.type, static_cast<int64_t>(n) * mb.stride + static_cast<int64_t>(k));
      const auto row = static_cast<int64_t>(m), column = static_cast<int64_t>(n);
      float value = scale * alpha_value * sum;
      if (beta_value != 0) value += beta_value * load(C, mc.type, column * mc.stride + row);
      store(D, md.type, column * md.stride + row, value);
    }
  return 0;
}
}
