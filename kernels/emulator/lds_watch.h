#pragma once
#include <cstdint>
#include <optional>
#include <vector>

namespace fse {

// What happened to each byte of a block's LDS, so that every order of threads that the barriers
// leave open is judged, whichever one was run. Two accesses of one byte by two threads, one of them
// a store, need a block_sync between them, or within a wave a wave_sync.
class LdsWatch {
 public:
  using Code = uint32_t;  // the line of an access, in the words of the caller
  enum class Kind { unwritten, in_flight, races_with_store, races_with_load };
  struct Fault {
    Kind kind;
    int byte;
    int thread;  // the other one; -1: several
    Code code;   // of the other access
  };

  LdsWatch(int bytes, int waves, int wave);
  void block_meets();
  void wave_meets(int wave);
  std::optional<Fault> load(int at, int bytes, int thread, Code);
  std::optional<Fault> store(int at, int bytes, int thread, Code);
  // Loads and stores at once: what several threads do so is in no order, and no race.
  std::optional<Fault> atomic(int at, int bytes, int thread, Code);
  // An asynchronous copy: until it has landed nobody may touch these bytes.
  std::optional<Fault> copy_begins(int at, int bytes, int thread, Code);
  void copy_lands(int at, int bytes, int thread);

 private:
  // Time counts barriers, of the block and of its waves.
  struct Byte {
    uint32_t store_time = 0, load_time = 0;
    Code store_code = 0, load_code = 0;
    uint16_t writer, reader;
  };
  bool ordered(uint32_t time, int other_wave, int wave) const;
  bool ordered_after_loads(const Byte&, int thread) const;
  bool ordered_after_store(const Byte&, int thread) const;
  std::optional<Fault> after_store(const Byte&, int at, int thread) const;
  void note_load(Byte&, int thread, Code) const;

  int wave_;
  uint32_t now_ = 1, block_met_ = 1;
  std::vector<uint32_t> wave_met_;
  std::vector<Byte> bytes_;
};

}  // namespace fse
