#pragma once
// Loads and stores of an instance are told to the emulator: the host's compiler calls these before
// each of them where it is asked to look for races (-fsanitize=thread). The library that goes with
// that is not linked. The names are the compiler's, so C++ gives its own to them. Included once, by
// the emulator's translation unit.
#include "kernels/device/gpu.h"

#define FSE_WATCHED(kind) __asm__("__tsan_" #kind) __attribute__((no_sanitize("thread"), used))

namespace fse::gpu::host {

__attribute__((noinline, no_sanitize("thread"))) inline void set_machine(Machine* m) {
  machine = m;
}

__attribute__((no_sanitize("thread"))) inline void watch(void* at, unsigned long bytes,
                                                         Access access, const void* code) {
  Machine* m = machine;
  if (static_cast<unsigned long>(static_cast<char*>(at) - m->stack) < m->stack_bytes) return;
  m->access(m, at, static_cast<int>(bytes), access, code);
}

#define FSE_WATCH(bytes)                                          \
  void loads##bytes(void* at) FSE_WATCHED(read##bytes);           \
  void stores##bytes(void* at) FSE_WATCHED(write##bytes);         \
  void loads##bytes(void* at) {                                   \
    watch(at, bytes, Access::load, __builtin_return_address(0));  \
  }                                                               \
  void stores##bytes(void* at) {                                  \
    watch(at, bytes, Access::store, __builtin_return_address(0)); \
  }
FSE_WATCH(1)
FSE_WATCH(2)
FSE_WATCH(4)
FSE_WATCH(8)
FSE_WATCH(16)

void loads_range(void* at, unsigned long bytes) FSE_WATCHED(read_range);
void stores_range(void* at, unsigned long bytes) FSE_WATCHED(write_range);
void loads_range(void* at, unsigned long bytes) {
  watch(at, bytes, Access::load, __builtin_return_address(0));
}
void stores_range(void* at, unsigned long bytes) {
  watch(at, bytes, Access::store, __builtin_return_address(0));
}

void starts() FSE_WATCHED(init);
void starts() {}

// Atomic accesses do not race with each other: those of grid barriers and mail, and sets
// and counts in LDS.
unsigned adds(unsigned* at, unsigned v, int) FSE_WATCHED(atomic32_fetch_add);
unsigned adds(unsigned* at, unsigned v, int) {
  watch(at, sizeof *at, Access::atomic, __builtin_return_address(0));
  return __atomic_fetch_add(at, v, __ATOMIC_SEQ_CST);
}
unsigned sets(unsigned* at, unsigned v, int) FSE_WATCHED(atomic32_fetch_or);
unsigned sets(unsigned* at, unsigned v, int) {
  watch(at, sizeof *at, Access::atomic, __builtin_return_address(0));
  return __atomic_fetch_or(at, v, __ATOMIC_SEQ_CST);
}
unsigned loads_atomic(const unsigned* at, int) FSE_WATCHED(atomic32_load);
unsigned loads_atomic(const unsigned* at, int) {
  return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}
u64 loads_whole(const u64* at, int) FSE_WATCHED(atomic64_load);
u64 loads_whole(const u64* at, int) {
  return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}
void stores_whole(u64* at, u64 v, int) FSE_WATCHED(atomic64_store);
void stores_whole(u64* at, u64 v, int) {
  watch(at, sizeof *at, Access::atomic, __builtin_return_address(0));
  __atomic_store_n(at, v, __ATOMIC_SEQ_CST);
}

}  // namespace fse::gpu::host
