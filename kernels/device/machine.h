#pragma once
// What an instance and the emulator agree on.

namespace fse::gpu::host {

struct Where {
  const char* operation;
  const char* file;
  int line;
};

// One matrix instruction: operands as one lane's registers hold them.
enum class MatrixForm { m16n8k16, mfma_16x16x16, mfma_16x16x32, mfma_16x16x128 };
enum class MatrixElement { bf16, f16, e4m3fn, e4m3fnuz };
struct Matrix {
  unsigned a[8], b[8];  // as many as the form reads; values of 16 or 8 bits, the first one low
  float d[4];           // accumulators
};

enum class Access { load, store, atomic };  // atomic: a load and store that nothing comes between

// The thread that runs now, and what it may ask of the machine. Every thread of a block is a fiber.
struct Machine {
  int thread, block, threads, blocks;
  char* lds;
  // This thread's own memory: never shared, so accesses to it are nobody's business.
  const char* stack;
  unsigned long stack_bytes;

  void (*block_sync)(Machine*, const Where&);
  // All lanes of a wave meet.
  void (*wave_sync)(Machine*, const Where&);
  void (*wave_index)(Machine*, const Where&);
  int (*shuffle)(Machine*, int value, int lane, const Where&);
  unsigned long long (*vote)(Machine*, bool, const Where&);
  void (*multiply)(Machine*, MatrixForm, MatrixElement, Matrix*, const Where&);

  void (*yield)(Machine*);     // another thread's turn: this one waits for memory to change
  void (*progress)(Machine*);  // memory that others wait for has changed
  void (*copy)(Machine*, void* lds, const void* global, int bytes, const Where&);
  void (*commit)(Machine*);
  void (*wait)(Machine*, int pending);
  // Before every load and store of an instance, see watch.h. `code`: the instruction.
  void (*access)(Machine*, const void* at, int bytes, Access, const void* code);
};

}  // namespace fse::gpu::host
