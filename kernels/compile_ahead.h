#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/jit.h"

namespace fse {

// Compiles instances into the cache on disk, in their order and on threads of its own, while
// whoever wants them measures earlier ones.
class CompileAhead {
 public:
  CompileAhead(std::unique_ptr<Jit>, std::vector<JitRequest>, int threads);
  ~CompileAhead();  // those being compiled are finished, no other is begun
  CompileAhead(const CompileAhead&) = delete;  // owns threads that work on its members

  // Until the first `count` are there, or have failed to compile, which whoever asks the cache
  // finds out again.
  void wait_for(size_t count);

 private:
  void work();

  const std::unique_ptr<Jit> jit_;
  const std::vector<JitRequest> requests_;
  std::mutex mutex_;
  std::condition_variable ended_;
  size_t next_ = 0;         // of requests_, to be begun
  std::vector<bool> done_;  // by request
  size_t ready_ = 0;        // so many of the first are done
  bool stop_ = false;
  std::vector<std::jthread> team_;
};

}  // namespace fse
