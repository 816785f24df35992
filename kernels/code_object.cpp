#include "kernels/code_object.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace fse {

std::string to_text(const Resources& r) {
  return fmt::format("registers={} {}lds={} stack={} spill={}", r.registers,
                     r.scalar_registers ? fmt::format("scalar={} ", r.scalar_registers) : "",
                     r.lds_bytes, r.stack_bytes, r.spill_bytes);
}

namespace {

// The number before `unit`: 40 from "Used 40 registers" with unit " registers"; 0 where absent.
int number_before(std::string_view log, std::string_view unit) {
  const size_t end = log.find(unit);
  if (end == std::string_view::npos) return 0;
  size_t begin = end;
  while (begin > 0 && log[begin - 1] >= '0' && log[begin - 1] <= '9') --begin;
  int value = 0;
  std::from_chars(log.data() + begin, log.data() + end, value);
  return value;
}

[[noreturn]] void damaged(std::string_view what) {
  fail_data(fmt::format("AMD code object: {}", what));
}

template <class T>
T read_at(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) damaged("it is cut short");
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::span<const std::byte> slice(std::span<const std::byte> bytes, uint64_t offset, uint64_t size) {
  if (offset > bytes.size() || bytes.size() - offset < size) damaged("a section lies outside it");
  return bytes.subspan(offset, size);
}

// A bundle's entries: offset, size, length of the target triple, the triple. The host's is empty.
std::span<const std::byte> unbundle(std::span<const std::byte> image) {
  constexpr std::string_view kMagic = "__CLANG_OFFLOAD_BUNDLE__";
  if (image.size() < kMagic.size() || std::memcmp(image.data(), kMagic.data(), kMagic.size()) != 0)
    return image;
  const auto count = read_at<uint64_t>(image, kMagic.size());
  uint64_t at = kMagic.size() + 8;
  for (uint64_t i = 0; i < count; ++i) {
    const auto offset = read_at<uint64_t>(image, at);
    const auto size = read_at<uint64_t>(image, at + 8);
    if (size > 0) return slice(image, offset, size);
    at += 24 + read_at<uint64_t>(image, at + 16);
  }
  damaged("the bundle holds no device code");
}

constexpr uint32_t align4(uint32_t n) {
  return (n + 3) & ~3u;
}

// The NT_AMDGPU_METADATA (32) note of a PT_NOTE segment: MessagePack.
nlohmann::json metadata(std::span<const std::byte> elf) {
  const auto header = read_at<Elf64_Ehdr>(elf, 0);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) damaged("it is no ELF file");
  for (int i = 0; i < header.e_phnum; ++i) {
    const auto segment =
        read_at<Elf64_Phdr>(elf, header.e_phoff + uint64_t{sizeof(Elf64_Phdr)} * unsigned(i));
    if (segment.p_type != PT_NOTE) continue;
    const auto notes = slice(elf, segment.p_offset, segment.p_filesz);
    for (uint64_t at = 0; at + sizeof(Elf64_Nhdr) <= notes.size();) {
      const auto note = read_at<Elf64_Nhdr>(notes, at);
      const uint64_t body = at + sizeof(Elf64_Nhdr) + align4(note.n_namesz);
      const auto description = slice(notes, body, note.n_descsz);
      if (note.n_type == 32)
        return nlohmann::json::from_msgpack(
            reinterpret_cast<const uint8_t*>(description.data()),
            reinterpret_cast<const uint8_t*>(description.data()) + description.size());
      at = body + align4(note.n_descsz);
    }
  }
  damaged("it has no metadata note");
}

}  // namespace

Resources resources_from_ptxas(std::string_view log, const std::string& kernel) {
  const size_t begin = log.find("Compiling entry function '" + kernel + "'");
  if (begin == std::string_view::npos) return {};
  log = log.substr(begin);
  log = log.substr(0, log.find("Compiling entry function '", 1));  // up to the next kernel
  return {.registers = number_before(log, " registers"),
          .lds_bytes = number_before(log, " bytes smem"),
          .stack_bytes = number_before(log, " bytes stack frame"),
          .spill_bytes = std::max(number_before(log, " bytes spill stores"),
                                  number_before(log, " bytes spill loads"))};
}

Resources resources_from_amd(std::span<const std::byte> image, const std::string& kernel) {
  try {
    const nlohmann::json notes = metadata(unbundle(image));
    for (const auto& entry : notes.at("amdhsa.kernels")) {
      if (entry.at(".name").get<std::string>() != kernel) continue;
      const auto number = [&](const char* key) { return entry.value(key, 0); };
      // A spilled register is 4 bytes in each lane; scalar spills go to lanes of a vector register.
      return {.registers = number(".vgpr_count"),
              .scalar_registers = number(".sgpr_count"),
              .lds_bytes = number(".group_segment_fixed_size"),
              .stack_bytes = number(".private_segment_fixed_size"),
              .spill_bytes = 4 * number(".vgpr_spill_count")};
    }
  } catch (const nlohmann::json::exception& e) {
    damaged(e.what());
  }
  damaged(fmt::format("it has no kernel {}", kernel));
}

}  // namespace fse
