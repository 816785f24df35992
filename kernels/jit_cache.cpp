#include "kernels/jit_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <string_view>

namespace fse {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kMagic = "fselab-code-1 ";

std::string hash_of(std::string_view bytes) {
  return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()));
}

// A line with the hash of the rest, a line of JSON, the image: `head -2` shows what an entry is.
std::string entry_text(const std::string& key, const std::string& expression,
                       const CodeObject& object) {
  const Resources& r = object.resources;
  const json description{{"key", key},
                         {"expression", expression},
                         {"lowered_name", object.lowered_name},
                         {"registers", r.registers},
                         {"scalar_registers", r.scalar_registers},
                         {"lds_bytes", r.lds_bytes},
                         {"stack_bytes", r.stack_bytes},
                         {"spill_bytes", r.spill_bytes}};
  std::string rest = description.dump() + "\n";
  rest.append(reinterpret_cast<const char*>(object.image.data()), object.image.size());
  return fmt::format("{}{}\n{}", kMagic, hash_of(rest), rest);
}

std::optional<CodeObject> parse(std::string_view file, const std::string& key) {
  const size_t begin = kMagic.size() + 16 + 1;
  if (file.size() < begin || !file.starts_with(kMagic)) return std::nullopt;
  const std::string_view rest = file.substr(begin);
  if (file.substr(kMagic.size(), 17) != hash_of(rest) + "\n") return std::nullopt;
  const size_t line = rest.find('\n');
  const json description = json::parse(rest.substr(0, line));
  if (description.at("key") != key) return std::nullopt;
  CodeObject object;
  object.lowered_name = description.at("lowered_name").get<std::string>();
  object.resources = {.registers = description.at("registers").get<int>(),
                      .scalar_registers = description.at("scalar_registers").get<int>(),
                      .lds_bytes = description.at("lds_bytes").get<int>(),
                      .stack_bytes = description.at("stack_bytes").get<int>(),
                      .spill_bytes = description.at("spill_bytes").get<int>()};
  const auto image = std::as_bytes(std::span(rest.substr(line + 1)));
  object.image.assign(image.begin(), image.end());
  object.from_cache = true;
  return object;
}

bool write_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(fd, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    data += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

// Writes a file of its own name; the returned path is empty where that failed.
fs::path write_private(const fs::path& entry, const std::string& text) {
  std::string name = entry.string() + ".XXXXXX";
  const int fd = ::mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return {};
  // Not flushed to the disk: what a power failure cuts off has another hash and is compiled again,
  // while waiting for a disk took longer than most kernels take to compile.
  bool ok = write_all(fd, text.data(), text.size());
  ok = ::close(fd) == 0 && ok;
  if (ok) return name;
  ::unlink(name.c_str());
  return {};
}

}  // namespace

fs::path JitCache::path(const std::string& key) const {
  return folder_ / (key + ".code");
}

std::optional<CodeObject> JitCache::find(const std::string& key) const {
  if (folder_.empty()) return std::nullopt;
  std::ifstream file(path(key), std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream content;
  content << file.rdbuf();
  try {
    return parse(content.str(), key);
  } catch (const json::exception&) {
    return std::nullopt;  // damaged: compiled again and replaced
  }
}

bool JitCache::store(const std::string& key, const std::string& expression,
                     const CodeObject& object) const {
  if (folder_.empty()) return false;
  std::error_code error;
  fs::create_directories(folder_, error);
  const fs::path mine = write_private(path(key), entry_text(key, expression, object));
  if (mine.empty()) return false;
  fs::rename(mine, path(key), error);
  if (!error) return true;
  std::error_code ignored;
  fs::remove(mine, ignored);
  return false;
}

}  // namespace fse
