#include "tuner/workbench.h"

#include "core/error.h"
#include "tuner/layer_bench.h"

namespace fse {
namespace {

class LocalWorkbench final : public Workbench {
 public:
  explicit LocalWorkbench(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}
  const DeviceInfo& device() const override { return backend_->device(); }
  std::string kernel_toolchain() const override { return backend_->kernel_toolchain(); }
  double measure_read_gbs() override { return backend_->measure_read_gbs(); }
  double measure_peak_gflops() override { return backend_->measure_peak_gflops(); }

  void set_workload(const WorkloadSpec& what) override {
    const Case& spec = what.spec;
    shard_ = measured_shard(spec.layer, spec.tp);
    spec_ = spec;
    trials_.clear();
    const std::string key = weights_text(spec) + "sets=" + std::to_string(what.sets);
    if (key != weights_key_) {
      weights_key_.clear();
      workload_ = {};  // two layers' weights need not fit
      workload_.sets = random_weights(spec.layer, shard_, spec.seed, what.sets);
      weights_key_ = key;
    }
    workload_.inputs =
        make_inputs(workload_.sets.front(), spec.routing, spec.tokens, spec.seed, what.rounds);
    workload_.cache = spec.cache;
    workload_.later = nullptr;
    if (inputs() < what.rounds) return;  // large ones begin again
    workload_.later = std::make_shared<LaterInputs>([this](int round) {
      return make_input(workload_.sets.front(), spec_.routing, spec_.tokens, spec_.seed, round);
    });
  }
  int inputs() const override { return static_cast<int>(workload_.inputs.size()); }

  std::unique_ptr<LayerRunner> open(const Variant& variant) override {
    check(!workload_.sets.empty(), "a workload is set before a layer is opened");
    LayerPlan plan = make_plan(spec_.layer, shard_, variant, spec_.tokens, backend_->device());
    auto session = backend_->open(plan, workload_.sets);
    return std::make_unique<LayerBench>(std::move(plan), std::move(session), workload_, trials_);
  }

 private:
  std::unique_ptr<Backend> backend_;
  Case spec_;
  Shard shard_;
  Workload workload_;
  std::string weights_key_;
  std::vector<LayerTrial> trials_;  // the same for all variants
};

}  // namespace

std::unique_ptr<Workbench> open_workbench(std::unique_ptr<Backend> backend) {
  return std::make_unique<LocalWorkbench>(std::move(backend));
}

}  // namespace fse
