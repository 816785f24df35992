#pragma once
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "kernels/code_object.h"
#include "kernels/rtc.h"

namespace fse {

// A header as the run-time compiler sees it: in memory, under the name it is included by.
struct DeviceHeader {
  std::string name;
  std::string text;
};
// Every *.h of the folder, sorted by name. Throws Error(environment) where there is none.
std::vector<DeviceHeader> read_device_headers(const std::filesystem::path& folder);

struct JitRequest {
  std::string header;      // the one to include: "topk.h"
  std::string expression;  // "fse::topk<fse::TopkTile{4,32}>"
  bool operator==(const JitRequest&) const = default;
};

struct CodeObject {
  std::string lowered_name;
  std::vector<std::byte> image;
  Resources resources;
  bool from_cache = false;
};

// A tile that does not compile is a result, not an error: `reason` is the compiler's first error.
struct CompileFailed {
  std::string reason;
  std::string log;
};
using Compiled = std::variant<CodeObject, CompileFailed>;

struct JitConfig {
  std::vector<DeviceHeader> headers;
  std::filesystem::path cache_dir;  // empty: compile every time
  std::vector<std::filesystem::path> library_dirs;
  std::vector<std::string> options;  // behind the standard and the architecture
};

// Compiles kernels of one set of headers for one architecture; needs the compiler, not a GPU.
class Jit {
 public:
  Jit(JitConfig config, std::string arch);  // throws what open_rtc throws

  [[nodiscard]] Compiled compile(const JitRequest&) const;
  // In parallel on `threads` threads; results parallel to the requests.
  [[nodiscard]] std::vector<Compiled> compile_all(std::span<const JitRequest>, int threads) const;

  const std::string& arch() const { return arch_; }
  std::string compiler() const { return rtc_.name + " " + rtc_.version; }
  // Hash of all that a code object depends on besides its request: headers, options, architecture
  // and compiler. Stored with results, so that a winner of other sources counts as stale.
  const std::string& toolchain_hash() const { return toolchain_hash_; }
  // Names the cache entry: 32 hex digits over the toolchain and the request.
  std::string key(const JitRequest&) const;

 private:
  Compiled build(const JitRequest&) const;
  Compiled run_compiler(const JitRequest&) const;

  JitConfig config_;
  std::string arch_;
  Rtc rtc_;
  mutable std::mutex one_at_a_time_;  // where the compiler is not safe to use from two threads
  std::vector<std::string> options_;
  std::string toolchain_hash_;
};

// The first line of a compiler's log that reports an error, without the path in front of it.
std::string first_error(const std::string& log);

}  // namespace fse
