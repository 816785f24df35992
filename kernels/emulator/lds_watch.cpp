#include "kernels/emulator/lds_watch.h"

namespace fse {

namespace {

// A writer or reader is a thread, or one of these; kLanes + w: several lanes of wave w; as writers
// they are atomic operations, also where it was a single lane.
constexpr uint16_t kNobody = 0xffff, kSeveralWaves = 0x7fff, kLanes = 0x4000, kInFlight = 0x8000;

bool is_atomic(uint16_t writer) {
  return writer >= kLanes && writer <= kSeveralWaves;
}

}  // namespace

LdsWatch::LdsWatch(int bytes, int waves, int wave)
    : wave_(wave),
      wave_met_(static_cast<size_t>(waves), 1),
      bytes_(static_cast<size_t>(bytes), Byte{.writer = kNobody, .reader = kNobody}) {}

void LdsWatch::block_meets() {
  block_met_ = ++now_;
}

void LdsWatch::wave_meets(int wave) {
  wave_met_[static_cast<size_t>(wave)] = ++now_;
}

bool LdsWatch::ordered(uint32_t time, int other_wave, int wave) const {
  return time < block_met_ || (other_wave == wave && time < wave_met_[static_cast<size_t>(wave)]);
}

bool LdsWatch::ordered_after_store(const Byte& b, int thread) const {
  if (b.writer == thread) return true;
  if (b.writer == kSeveralWaves) return b.store_time < block_met_;
  return ordered(b.store_time, b.writer >= kLanes ? b.writer - kLanes : b.writer / wave_,
                 thread / wave_);
}

bool LdsWatch::ordered_after_loads(const Byte& b, int thread) const {
  if (b.reader == kNobody || b.reader == thread || b.load_time < block_met_) return true;
  if (b.reader == kSeveralWaves) return false;
  return ordered(b.load_time, b.reader >= kLanes ? b.reader - kLanes : b.reader / wave_,
                 thread / wave_);
}

// Keeps as much of who has read as a later store needs.
void LdsWatch::note_load(Byte& b, int thread, Code code) const {
  const int wave = thread / wave_;
  if (b.reader == kNobody || b.reader == thread || b.load_time < block_met_) {
    b.reader = static_cast<uint16_t>(thread);
  } else if (b.reader != kSeveralWaves) {
    const int other = b.reader >= kLanes ? b.reader - kLanes : b.reader / wave_;
    if (other != wave)
      b.reader = kSeveralWaves;
    else if (ordered(b.load_time, other, wave))
      b.reader = static_cast<uint16_t>(thread);
    else
      b.reader = static_cast<uint16_t>(kLanes + wave);
  }
  b.load_time = now_;
  b.load_code = code;
}

std::optional<LdsWatch::Fault> LdsWatch::after_store(const Byte& b, int at, int thread) const {
  if (b.writer & kInFlight)
    return Fault{Kind::in_flight, at, b.writer & ~kInFlight & 0xffff, b.store_code};
  if (ordered_after_store(b, thread)) return {};
  return Fault{Kind::races_with_store, at, b.writer < kLanes ? b.writer : -1, b.store_code};
}

std::optional<LdsWatch::Fault> LdsWatch::load(int at, int bytes, int thread, Code code) {
  for (int i = at; i < at + bytes; ++i) {
    Byte& b = bytes_[static_cast<size_t>(i)];
    if (b.writer == kNobody) return Fault{Kind::unwritten, i, -1, 0};
    if (const auto fault = after_store(b, i, thread)) return fault;
    note_load(b, thread, code);
  }
  return {};
}

std::optional<LdsWatch::Fault> LdsWatch::store(int at, int bytes, int thread, Code code) {
  for (int i = at; i < at + bytes; ++i) {
    Byte& b = bytes_[static_cast<size_t>(i)];
    if (b.writer != kNobody)
      if (const auto fault = after_store(b, i, thread)) return fault;
    if (!ordered_after_loads(b, thread))
      return Fault{Kind::races_with_load, i, b.reader < kLanes ? b.reader : -1, b.load_code};
    b.writer = static_cast<uint16_t>(thread);
    b.store_time = now_;
    b.store_code = code;
    b.reader = kNobody;
  }
  return {};
}

std::optional<LdsWatch::Fault> LdsWatch::atomic(int at, int bytes, int thread, Code code) {
  const auto wave = static_cast<uint16_t>(kLanes + thread / wave_);
  for (int i = at; i < at + bytes; ++i) {
    Byte& b = bytes_[static_cast<size_t>(i)];
    if (b.writer == kNobody) return Fault{Kind::unwritten, i, -1, 0};
    const bool beside = is_atomic(b.writer) && !ordered_after_store(b, thread);
    if (!beside)
      if (const auto fault = after_store(b, i, thread)) return fault;
    if (!ordered_after_loads(b, thread))
      return Fault{Kind::races_with_load, i, b.reader < kLanes ? b.reader : -1, b.load_code};
    b.writer = beside && b.writer != wave ? kSeveralWaves : wave;
    b.store_time = now_;
    b.store_code = code;
    b.reader = kNobody;
  }
  return {};
}

std::optional<LdsWatch::Fault> LdsWatch::copy_begins(int at, int bytes, int thread, Code code) {
  const std::optional<Fault> fault = store(at, bytes, thread, code);
  for (int i = at; !fault && i < at + bytes; ++i)
    bytes_[static_cast<size_t>(i)].writer |= kInFlight;
  return fault;
}

void LdsWatch::copy_lands(int at, int bytes, int thread) {
  for (int i = at; i < at + bytes; ++i) {
    Byte& b = bytes_[static_cast<size_t>(i)];
    b.writer = static_cast<uint16_t>(thread);
    b.store_time = now_;
  }
}

}  // namespace fse
