#pragma once
#include "kernels/runtime.h"

namespace fse {

// What `enqueue` puts on the stream, as a graph that can be launched. Nothing runs yet.
template <class Enqueue>
GraphExec capture(hipStream_t stream, const Enqueue& enqueue) {
  FSE_GPU(hipStreamBeginCapture(stream, hipStreamCaptureModeThreadLocal));
  hipGraph_t graph = nullptr;
  try {
    enqueue();
  } catch (...) {  // a stream left in capture would fail everything after it
    static_cast<void>(hipStreamEndCapture(stream, &graph));
    if (graph) static_cast<void>(hipGraphDestroy(graph));
    throw;
  }
  FSE_GPU(hipStreamEndCapture(stream, &graph));
  hipGraphExec_t exec = nullptr;
  const hipError_t error = instantiate(&exec, graph);
  static_cast<void>(hipGraphDestroy(graph));
  check_gpu(error, "instantiate(&exec, graph)");
  GraphExec owned(exec);
  // Else its first launch does it, and is timed with it.
  FSE_GPU(upload(exec, stream));
  return owned;
}

// How long what `enqueue` puts on the stream takes there, once it is done.
template <class Enqueue>
double timed_us(hipStream_t stream, const Event& from, const Event& to, const Enqueue& enqueue) {
  FSE_GPU(hipEventRecord(from.get(), stream));
  enqueue();
  FSE_GPU(hipEventRecord(to.get(), stream));
  return elapsed_us(from, to);
}

}  // namespace fse
