#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/emulator/group.h"
#include "kernels/emulator/program.h"

namespace fse::emulated {

namespace {

constexpr LdsWatch::Code kCopy = 0x80000000u;  // an index into Block::copies, else an instruction

const char* file_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash ? slash + 1 : path;
}

std::string line_at(const Place& place) {
  return place.where ? to_text(*place.where) : source_line(place.code);
}

}  // namespace

std::string to_text(const Where& where) {
  return fmt::format("{}:{}", file_name(where.file), where.line);
}

void Group::copy(void* to, const void* from, int bytes, const Where& where) {
  Block& b = block_now();
  const auto at = static_cast<char*>(to) - lds;
  if (at < 0 || at + bytes > launch_.launch.lds_bytes)
    return fault(fmt::format("copies {} bytes outside its {} bytes of LDS at {}", bytes,
                             launch_.launch.lds_bytes, to_text(where)));
  if (b.copies.empty() || b.copies.back().line != where.line) b.copies.push_back(where);
  if (const auto found =
          b.watch->copy_begins(static_cast<int>(at), bytes, thread,
                               kCopy + static_cast<LdsWatch::Code>(b.copies.size()) - 1))
    lds_fault(*found, true, to_text(where));
  access_global(static_cast<const char*>(from), bytes, false, {&where, nullptr});
  Copy copy{to, bytes, now().group, {}};
  std::memcpy(copy.data.data(), from, static_cast<size_t>(bytes));
  now().copies.push_back(copy);
  if (counter_)
    counter_->lds(wave_now(), thread % launch_.wave, where.operation + where.line,
                  static_cast<int>(at), bytes, false);
}

void Group::wait_copies(int pending) {
  Fiber& fiber = now();
  auto first = fiber.copies.begin();  // the open group is not one of the pending ones
  for (; first != fiber.copies.end() && first->group + pending < fiber.group; ++first) {
    std::memcpy(first->to, first->data.data(), static_cast<size_t>(first->bytes));
    block_now().watch->copy_lands(static_cast<int>(static_cast<char*>(first->to) - lds),
                                  first->bytes, thread);
  }
  fiber.copies.erase(fiber.copies.begin(), first);
}

std::string Group::line_of(LdsWatch::Code code) {
  if (code & kCopy) return to_text(block_now().copies[code & ~kCopy]);
  const auto offset = static_cast<int32_t>(code << 1) >> 1;  // 31 bits with their sign
  return source_line(reinterpret_cast<const char*>(launch_.run) + offset);
}

void Group::lds_fault(const LdsWatch::Fault& found, bool store, const std::string& line) {
  using Kind = LdsWatch::Kind;
  const char* does = store ? "stores" : "loads";
  if (found.kind == Kind::unwritten)
    return fault(
        fmt::format("loads byte {} of LDS at {}, which nobody has written", found.byte, line));
  const std::string other =
      found.thread < 0 ? "several threads" : fmt::format("thread {}", found.thread);
  if (found.kind == Kind::in_flight)
    return fault(fmt::format("{} byte {} of LDS at {}, where a copy of {} at {} was not waited for",
                             does, found.byte, line, other, line_of(found.code)));
  fault(fmt::format("race: {} byte {} of LDS at {}, which {} {} at {}, and no barrier is between",
                    does, found.byte, line, other,
                    found.kind == Kind::races_with_load ? "loaded" : "stored",
                    line_of(found.code)));
}

void Group::access(const char* at, int bytes, gpu::host::Access kind, const void* code) {
  const bool store = kind != gpu::host::Access::load;
  const auto offset = at - lds;
  const auto lds_bytes = launch_.launch.lds_bytes;
  const auto guard = static_cast<std::ptrdiff_t>(kGuardBytes);
  if (offset < -guard || offset >= lds_bytes + guard)
    return access_global(at, bytes, store, {nullptr, code});
  if (offset < 0 || offset + bytes > lds_bytes)
    return fault(fmt::format("{} {} bytes at byte {} of its {} bytes of LDS, at {}",
                             store ? "stores" : "loads", bytes, offset, lds_bytes,
                             source_line(code)));
  const auto short_code = static_cast<LdsWatch::Code>(static_cast<const char*>(code) -
                                                      reinterpret_cast<const char*>(launch_.run));
  LdsWatch& watch = *block_now().watch;
  const auto first = static_cast<int>(offset);
  const auto found =
      kind == gpu::host::Access::load    ? watch.load(first, bytes, thread, short_code & ~kCopy)
      : kind == gpu::host::Access::store ? watch.store(first, bytes, thread, short_code & ~kCopy)
                                         : watch.atomic(first, bytes, thread, short_code & ~kCopy);
  if (found) lds_fault(*found, store, source_line(code));
  if (counter_) counter_->lds(wave_now(), thread % launch_.wave, code, first, bytes, !store);
}

std::string Group::nearest(const char* at) const {
  std::string text = "no buffer is there";
  auto distance = std::numeric_limits<std::ptrdiff_t>::max();
  for (const DeviceMemory* m : memory_) {
    const auto begin = static_cast<const char*>(m->begin);
    const auto offset = at - begin;
    const auto away = offset < 0 ? -offset : offset - static_cast<std::ptrdiff_t>(m->bytes);
    if (away >= distance) continue;
    distance = away;
    text = fmt::format("byte {} of the {} bytes of {}", offset, m->bytes, m->name);
  }
  return text;
}

void Group::access_global(const char* at, int bytes, bool store, const Place& place) {
  const auto after = std::upper_bound(memory_.begin(), memory_.end(), at,
                                      [](const char* p, const auto* m) { return p < m->begin; });
  if (after != memory_.begin()) {
    const DeviceMemory& m = **std::prev(after);
    if (at + bytes <= static_cast<const char*>(m.begin) + m.bytes) {
      if (!(store ? m.stored : m.loaded))
        fault(fmt::format("{} {} bytes {} {} at {}, which its op does not declare",
                          store ? "stores" : "loads", bytes, store ? "into" : "from", m.name,
                          line_at(place)));
      if (counter_)
        counter_->global(wave_now(), thread % launch_.wave,
                         place.code ? place.code : place.where->file + place.where->line,
                         static_cast<size_t>(&m - launch_.memory.data()),
                         at - static_cast<const char*>(m.begin), bytes, !store);
      return;
    }
  }
  const auto within = [&](const void* begin, size_t size) {
    return at >= begin && at + bytes <= static_cast<const char*>(begin) + size;
  };
  if (within(this, sizeof *this) || within(launch_.args, sizeof *launch_.args)) return;
  fault(fmt::format("{} {} bytes outside every buffer, at {}: {}", store ? "stores" : "loads",
                    bytes, line_at(place), nearest(at)));
}

}  // namespace fse::emulated
