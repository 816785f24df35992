#include "kernels/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "core/outcome.h"

namespace fse {

namespace {

// What a call may answer without the device being lost. Everything else is sticky: each later call
// would fail with it, or worse, answer.
Status status_of(hipError_t error) {
  if (error == hipErrorOutOfMemory) return Status::out_of_memory;
  const bool refused = error == hipErrorInvalidValue || error == hipErrorInvalidConfiguration ||
                       error == hipErrorLaunchOutOfResources ||
                       error == hipErrorCooperativeLaunchTooLarge || error == hipErrorNotSupported;
  return refused ? Status::launch_failed : Status::crashed;
}

}  // namespace

void check_gpu(hipError_t error, const char* call, std::source_location at) {
  if (error == hipSuccess) return;
  static_cast<void>(hipGetLastError());  // what is not sticky is forgotten, having been told here
  std::string_view file = at.file_name();
  file.remove_prefix(std::min(file.size(), file.rfind("kernels/") == std::string_view::npos
                                               ? size_t{0}
                                               : file.rfind("kernels/")));
  throw AttemptError(status_of(error),
                     fmt::format("{} ({}) from {} at {}:{}", hipGetErrorName(error),
                                 hipGetErrorString(error), call, file, at.line()));
}

Stream make_stream() {
  hipStream_t stream = nullptr;
  FSE_GPU(hipStreamCreateWithFlags(&stream, hipStreamNonBlocking));
  return Stream(stream);
}

Event make_event(bool timed) {
  hipEvent_t event = nullptr;
  FSE_GPU(hipEventCreateWithFlags(&event, timed ? hipEventDefault : hipEventDisableTiming));
  return Event(event);
}

DeviceMemory allocate(int64_t bytes) {
  void* pointer = nullptr;
  const hipError_t error = hipMalloc(&pointer, static_cast<size_t>(bytes));
  if (error == hipErrorOutOfMemory) {
    static_cast<void>(hipGetLastError());
    size_t free = 0, total = 0;
    FSE_GPU(hipMemGetInfo(&free, &total));
    throw AttemptError(
        Status::out_of_memory,
        fmt::format("{} bytes wanted on the device, {} of {} are free", bytes, free, total));
  }
  check_gpu(error, "hipMalloc(&pointer, bytes)");
  return DeviceMemory(pointer);
}

double elapsed_us(const Event& from, const Event& to) {
  FSE_GPU(hipEventSynchronize(to.get()));
  float ms = 0;
  FSE_GPU(hipEventElapsedTime(&ms, from.get(), to.get()));
  return 1000.0 * static_cast<double>(ms);
}

}  // namespace fse
