#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/jit.h"

namespace fse {

namespace gpu {
struct Args;
namespace host {
struct Machine;
}
}  // namespace gpu

// Kernel instances as host code: compiled at run time by the compiler fselab was built with, as a
// GPU's are by hipRTC or NVRTC, so that every tile and every shape can be run. Kept in the same
// cache folder, named by a hash of all they depend on.
class HostInstances {
 public:
  using Run = void (*)(gpu::host::Machine*, const gpu::Args*);
  // For "gfx942", "sm_90": its wave and what its matrix unit can do are compiled in.
  HostInstances(const BackendConfig&, const std::string& arch);

  // Compiles what is not loaded yet, all of it in one translation unit: the headers are most of the
  // work. Throws AttemptError(compile_failed) with the compiler's first error.
  void prepare(const std::vector<JitRequest>&);
  Run find(const std::string& expression) const;
  std::string compiler() const;
  const std::string& toolchain_hash() const { return toolchain_hash_; }

 private:
  std::filesystem::path compile(const std::string& source) const;

  std::filesystem::path root_, cache_dir_;
  bool temporary_;  // nothing is kept
  std::vector<std::string> options_;
  std::string toolchain_hash_;
  std::map<std::string, Run> loaded_;
  std::vector<std::shared_ptr<void>> libraries_;
};

}  // namespace fse
