#pragma once
#include <cstddef>
#include <span>

#include "core/device.h"

namespace fse {

// Reads all of `bytes` (64-byte aligned) once with `threads` threads; seconds.
double stream_through(std::span<const std::byte> bytes, int threads);

// Best of several passes over a buffer of at least eight times the caches, all threads: GB/s
// (10^9).
double measure_read_gbs(const DeviceInfo&);
// Best rate of independent f32 multiply-adds on registers, all threads: GFLOP/s.
double measure_peak_gflops(const DeviceInfo&);

}  // namespace fse
