#pragma once
#include <boost/context/fixedsize_stack.hpp>
#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define FSE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FSE_ASAN 1
#endif
#endif
#if defined(FSE_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace fse {

// The address sanitizer must be told which stack a thread is on, or it takes the frames of one
// fiber for wild accesses of another. Without it the two functions do nothing.
struct Stack {
  const void* base;  // lowest address
  size_t size;
};

// About to leave this stack for that one. `kept` keeps what comes back in has_come(); null where
// this stack is left for good.
inline void leaves_for([[maybe_unused]] Stack to, [[maybe_unused]] void** kept) {
#if defined(FSE_ASAN)
  __sanitizer_start_switch_fiber(kept, to.base, to.size);
#endif
}

// On a new stack: the first statement there (`kept` null), or the first after coming back. `from`,
// where wanted, becomes the stack that was left.
inline void has_come([[maybe_unused]] void* kept, [[maybe_unused]] Stack* from) {
#if defined(FSE_ASAN)
  const void* base = nullptr;
  size_t size = 0;
  __sanitizer_finish_switch_fiber(kept, &base, &size);
  if (from) *from = {base, size};
#endif
}

// Boost.Context's stack of a fixed size, which says where it is. What a fiber left poisoned when it
// ended would be found by the next owner of the memory.
class RecordedStack {
 public:
  RecordedStack(size_t bytes, Stack& stack) : allocator_(bytes), stack_(&stack) {}
  boost::context::stack_context allocate() {
    const boost::context::stack_context context = allocator_.allocate();
    *stack_ = {static_cast<char*>(context.sp) - context.size, context.size};
    return context;
  }
  void deallocate(boost::context::stack_context& context) {
#if defined(FSE_ASAN)
    __asan_unpoison_memory_region(static_cast<char*>(context.sp) - context.size, context.size);
#endif
    allocator_.deallocate(context);
  }

 private:
  boost::context::fixedsize_stack allocator_;
  Stack* stack_;
};

}  // namespace fse
