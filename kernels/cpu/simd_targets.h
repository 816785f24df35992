#pragma once
// Which instruction sets the SIMD kernels are compiled for; the best one the machine has is chosen
// when the program runs. AVX2 and AVX-512 are what x86 servers have, NEON what Arm has; the rest
// is left to plain scalar code. Each target costs its share of the build's time.
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
