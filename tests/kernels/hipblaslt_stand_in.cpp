// libhipblaslt's interface since ROCm 6, by the public header hipblaslt/hipblaslt.h.
#define PREFIX hipblasLt
#define COMPUTE_F32 2
#define TRANSPOSE_A 0
#define TRANSPOSED 112
#define ALGORITHM_BYTES 24
#define HAS_ALIGNMENTS false
#include "tests/kernels/blas_stand_in.h"

extern "C" int hipblasLtGetVersion(void*, int* version) {
  *version = 100203;
  return 0;
}
