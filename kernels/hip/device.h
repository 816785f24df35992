#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/device.h"
#include "core/weights.h"
#include "kernels/backend.h"
#include "kernels/blas_library.h"
#include "kernels/jit.h"
#include "kernels/runtime.h"

namespace fse {

DeviceInfo query_gpu(int index);  // without its vendor's library, which takes 0.1 s to open
// "cuBLASLt 13.1.0", or nothing and the reason why none can be used.
std::optional<std::string> find_blas(const std::string& arch, std::string& why);

struct LoadedKernel {
  Module module;
  hipFunction_t function = nullptr;
  Resources resources;
  int lds_allowed = 0;
};

class HipDevice;

// Host memory that lies on the device too. Weight sets are windows of one arena: what several of
// them share is uploaded once.
class DeviceCopy {
 public:
  struct Range {
    const std::byte* host;
    int64_t bytes;
    DeviceMemory memory;
    std::byte* device;  // in `memory`, aligned as `host` is
  };
  DeviceCopy(const HipDevice&, const std::vector<LayerWeights>& sets);
  // The device's copy of a pointer into the weights; nullptr stays nullptr.
  template <class T>
  const T* at(const T* host) const {
    return static_cast<const T*>(find(host));
  }

 private:
  const void* find(const void* host) const;
  std::vector<Range> ranges_;                        // by address, disjoint
  std::vector<std::shared_ptr<const void>> owners_;  // host addresses stay theirs
};

// One GPU as this process uses it: its streams, the kernels loaded so far, the weights uploaded.
class HipDevice {
 public:
  HipDevice(int index, const BackendConfig&);
  void use() const;  // every public entry begins with it: another device may be in use too

  int index() const { return index_; }
  const DeviceInfo& info() const { return info_; }
  const Jit& jit() const { return jit_; }
  // Compiled (or from the cache), loaded, and allowed its LDS. Throws AttemptError(compile_failed)
  // with the compiler's first error.
  const LoadedKernel& load(const JitRequest&, int lds_bytes);
  // Compiles what is not loaded yet in parallel, so that load() finds it in memory.
  void compile(const std::vector<JitRequest>&);
  // The vendor's library, which info().library names; made when it is first wanted.
  std::shared_ptr<const BlasHandle> blas();
  // Sessions of the same weights share one copy while one of them lives.
  std::shared_ptr<const DeviceCopy> upload(const std::vector<LayerWeights>& sets);

  // In order with the main stream, and done when it returns.
  void copy(void* to, const void* from, int64_t bytes, decltype(hipMemcpyHostToDevice) kind) const;

  hipStream_t main_stream() const { return main_.get(); }
  hipStream_t side_stream() const { return side_.get(); }

 private:
  int index_;
  DeviceInfo info_;
  Jit jit_;
  int compile_threads_;
  std::map<std::string, LoadedKernel> kernels_;  // by expression
  std::map<std::string, Compiled> compiled_;     // waiting to be loaded
  std::shared_ptr<const BlasHandle> blas_;
  std::vector<std::pair<std::vector<const std::byte*>, std::weak_ptr<const DeviceCopy>>> copies_;
  Stream main_, side_;
};

}  // namespace fse
