#include "kernels/cpu/cpu_backend.h"

#include "kernels/cpu/cpu_info.h"
#include "kernels/cpu/cpu_microbench.h"
#include "kernels/cpu/cpu_session.h"
#include "kernels/cpu/measure.h"

namespace fse {
namespace {

class CpuBackend final : public Backend {
 public:
  const DeviceInfo& device() const override { return info_; }
  std::unique_ptr<Session> open(const LayerPlan& plan, std::vector<LayerWeights> sets) override {
    return std::make_unique<CpuSession>(plan, std::move(sets), info_);
  }
  double measure_read_gbs() override { return fse::measure_read_gbs(info_); }
  double measure_peak_gflops() override { return fse::measure_peak_gflops(info_); }
  std::unique_ptr<Microbench> microbench() override { return open_cpu_microbench(info_); }

 private:
  const DeviceInfo info_ = cpu_info();
};

}  // namespace

std::unique_ptr<Backend> open_cpu_backend() {
  return std::make_unique<CpuBackend>();
}

}  // namespace fse
