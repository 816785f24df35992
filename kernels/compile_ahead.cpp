#include "kernels/compile_ahead.h"

#include <algorithm>

#include "core/error.h"

namespace fse {

CompileAhead::CompileAhead(std::unique_ptr<Jit> jit, std::vector<JitRequest> requests, int threads)
    : jit_(std::move(jit)), requests_(std::move(requests)), done_(requests_.size()) {
  for (int i = 0; i < threads; ++i) team_.emplace_back([this] { work(); });
}

CompileAhead::~CompileAhead() {
  const std::lock_guard lock(mutex_);
  stop_ = true;
}

void CompileAhead::work() {
  std::unique_lock lock(mutex_);
  while (!stop_ && next_ < requests_.size()) {
    const size_t mine = next_++;
    lock.unlock();
    try {
      static_cast<void>(jit_->compile(requests_[mine]));
    } catch (const Error&) {  // an environment that fails here fails whoever wants the kernel, too
    }
    lock.lock();
    done_[mine] = true;
    while (ready_ < done_.size() && done_[ready_]) ++ready_;
    ended_.notify_all();
  }
}

void CompileAhead::wait_for(size_t count) {
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return ready_ >= std::min(count, requests_.size()); });
}

}  // namespace fse
