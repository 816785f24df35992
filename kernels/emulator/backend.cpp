#include "kernels/emulator/backend.h"

#include <fmt/format.h>

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/emulator/session.h"
#include "kernels/gpu/layer.h"

namespace fse {

namespace {

// Few: a kernel that fills a real device starts as many blocks here, one after the other. Enough
// that a layer of 64 columns has 16 of them for each, as the one-launch kernel wants for its
// output.
constexpr int kComputeUnits = 4;

class Emulator final : public Backend {
 public:
  Emulator(DeviceInfo device, const BackendConfig& config)
      : device_(std::move(device)),
        host_threads_(config.compile_threads),
        instances_(std::make_shared<HostInstances>(config, device_.arch)) {}
  const DeviceInfo& device() const override { return device_; }
  std::unique_ptr<Session> open(const LayerPlan& plan, std::vector<LayerWeights> sets) override {
    return std::make_unique<EmulatorSession>(instances_, memo_, device_, host_threads_, plan,
                                             std::move(sets));
  }
  double measure_read_gbs() override { not_measured(); }
  double measure_peak_gflops() override { not_measured(); }
  std::string kernel_toolchain() const override {
    return fmt::format("{}, kernels {:.16}", instances_->compiler(), instances_->toolchain_hash());
  }

 private:
  [[noreturn]] void not_measured() const {
    throw Error(ErrorKind::environment,
                device_.name + " runs kernels to check them: its times are the host's");
  }
  DeviceInfo device_;
  int host_threads_;
  std::shared_ptr<HostInstances> instances_;
  std::shared_ptr<LaunchMemo> memo_ = std::make_shared<LaunchMemo>();
};

}  // namespace

std::vector<std::string> emulated_archs() {
  return {"gfx90a", "gfx942", "gfx950", "sm_90"};
}

DeviceInfo emulated_device(const std::string& arch) {
  const auto archs = emulated_archs();
  if (std::find(archs.begin(), archs.end(), arch) == archs.end())
    throw Error(ErrorKind::environment,
                fmt::format("there is no emulated {}, but {}", arch, fmt::join(archs, ", ")));
  DeviceInfo device = typical_gpu(arch);
  device.name = "emu:" + arch;
  device.kind = "emu";
  device.product += ", emulated";
  device.compute_units = kComputeUnits;
  device.memory_bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);  // the host's
  device.library = "plain products of the host";
  device.graph = false;  // a replay would run the same kernels again
  return device;
}

std::unique_ptr<Backend> open_emulator(const std::string& arch, const BackendConfig& config) {
  return std::make_unique<Emulator>(emulated_device(arch), config);
}

}  // namespace fse
