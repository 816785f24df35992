// libcublasLt's interface for 13.0, by NVIDIA's documentation.
#define PREFIX cublasLt
#define COMPUTE_F32 68
#define TRANSPOSE_A 3
#define TRANSPOSED 1
#define ALGORITHM_BYTES 64
#define HAS_ALIGNMENTS true
#include "tests/kernels/blas_stand_in.h"

extern "C" size_t cublasLtGetVersion() {
  return 130201;
}
