#pragma once
// What an instance and the emulator agree on.

namespace fse::gpu::host {

struct Where {
  const char* operation;
  const char* file;
  int line;
};

// The thread that runs now, and what it may ask of the machine. Every thread of a block is a fiber.
struct Machine {
  int thread, block, threads, blocks;
  char* lds;
  void (*block_sync)(Machine*, const Where&);
  // All lanes of a wave meet; the last to come does the work on what each has brought.
  void (*together)(Machine*, void* mine, void (*work)(void* const* lanes), const Where&);
  void (*yield)(Machine*);     // another thread's turn: this one waits for memory to change
  void (*progress)(Machine*);  // memory that others wait for has changed
  void (*copy16)(Machine*, void* lds, const void* global);
  void (*commit)(Machine*);
  void (*wait)(Machine*, int pending);
};

}  // namespace fse::gpu::host
