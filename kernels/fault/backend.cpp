#include "kernels/fault/backend.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "core/case.h"
#include "core/error.h"
#include "kernels/fault/spec.h"

namespace fse {
namespace {

// An axis as a whole, rows=1 is not rows=16; of a kernel's name any part.
bool holds(const std::string& choice, const std::string& word) {
  if (word.find('=') == std::string::npos) return choice.find(word) != std::string::npos;
  return (choice + " ").find(" " + word + " ") != std::string::npos;
}

double made_time_us(const std::string& choice) {
  return 10 + static_cast<double>(std::stoull(hash_text(choice), nullptr, 16) % 100'000) / 1000;
}

// Which faults strike, and the device's health: shared by all sessions of the device.
class Injector {
 public:
  explicit Injector(FaultSpec spec) : spec_(std::move(spec)), seen_(spec_.faults.size()) {}
  bool made_times() const { return spec_.made_times; }

  std::vector<Failure> strikes(Stage stage, const std::string& choice) {
    if (lost_) throw AttemptError(Status::crashed, "injected: the device is lost");
    std::vector<Failure> found;
    for (size_t i = 0; i < spec_.faults.size(); ++i)
      if (spec_.faults[i].stage == stage && hits(spec_.faults[i], seen_[i], choice))
        found.push_back(spec_.faults[i].failure);
    return found;
  }

  // Comes back only from failures that the caller has to bring about: of results and times.
  void fail(Failure failure, const std::string& choice, bool compiling) {
    const std::string what = fmt::format("injected: {} of {}", to_name(failure), choice);
    switch (failure) {
      case Failure::hang:
        fmt::print(stderr, "{}\n", what);
        while (true) pause();
      case Failure::abort:
        fmt::print(stderr, "{}\n", what);
        std::abort();
      case Failure::segfault:
        fmt::print(stderr, "{}\n", what);
        signal(SIGSEGV, SIG_DFL);  // a sanitizer's handler would turn it into an exit
        raise(SIGSEGV);
        return;
      case Failure::exit:
        std::_Exit(3);
      case Failure::launch:
        throw AttemptError(compiling ? Status::compile_failed : Status::launch_failed, what);
      case Failure::sticky:
        lost_ = true;
        throw AttemptError(Status::crashed, what);
      case Failure::oom:
        throw AttemptError(Status::out_of_memory, what);
      default:
        return;
    }
  }

 private:
  static bool hits(const Fault& fault, std::vector<std::string>& seen, const std::string& choice) {
    if (fault.nth > 0) {
      if (std::find(seen.begin(), seen.end(), choice) == seen.end()) seen.push_back(choice);
      const auto nth = static_cast<size_t>(fault.nth);
      return seen.size() >= nth && seen[nth - 1] == choice;
    }
    return std::all_of(fault.words.begin(), fault.words.end(),
                       [&](const std::string& word) { return holds(choice, word); });
  }

  FaultSpec spec_;
  std::vector<std::vector<std::string>> seen_;  // per fault: the choices that reached its stage
  bool lost_ = false;
};

class FaultSession final : public Session {
 public:
  FaultSession(std::unique_ptr<Session> below, std::shared_ptr<Injector> injector, LayerPlan plan)
      : below_(std::move(below)), injector_(std::move(injector)), plan_(std::move(plan)) {}

  void enter(Stage stage) override { stage_ = stage; }
  void set_input(std::span<const float> x) override { below_->set_input(x); }
  void poison_buffers() override { below_->poison_buffers(); }
  Matrix read(Buf id) const override { return below_->read(id); }
  void write(Buf id, const Matrix& values) override { below_->write(id, values); }
  void evict_caches() override { below_->evict_caches(); }
  std::optional<KernelResources> resources(int step, const Choice& choice) override {
    return below_->resources(step, choice);
  }

  // What the compiler reports is told when the kernel is run.
  void compile(int step, std::span<const Choice> soon) override {
    for (const Choice& choice : soon) try {
        compile_once(to_text(choice));
      } catch (const AttemptError&) {
      }
    below_->compile(step, soon);
  }

  double run_step(int step, const Choice& choice, int set) override {
    const std::string text = to_text(choice);
    const std::vector<Failure> failures = before(text);
    const double time_us = below_->run_step(step, choice, set);
    for (const Failure failure : failures)
      damage(failure, plan_.steps[static_cast<size_t>(step)].writes);
    return scaled(injector_->made_times() ? made_time_us(text) : time_us, failures);
  }

  bool replay_step(int step, const Choice& choice, int set) override {
    return below_->replay_step(step, choice, set);
  }
  int64_t memory_bytes() const override { return below_->memory_bytes(); }

  RunTimes run(std::span<const Choice> choices, int set) override {
    std::vector<std::vector<Failure>> failures;
    for (const Choice& choice : choices) failures.push_back(before(to_text(choice)));
    RunTimes times = below_->run(choices, set);
    if (injector_->made_times()) times = made_times(choices);
    for (size_t i = 0; i < choices.size(); ++i) {
      for (const Failure failure : failures[i]) damage(failure, {Buf::out});
      const double step_us = scaled(times.step_us[i], failures[i]);
      times.layer_us += step_us - times.step_us[i];
      times.step_us[i] = step_us;
    }
    return times;
  }

 private:
  void compile_once(const std::string& text) {
    if (std::find(compiled_.begin(), compiled_.end(), text) != compiled_.end()) return;
    for (const Failure failure : injector_->strikes(Stage::compile, text))
      injector_->fail(failure, text, true);
    compiled_.push_back(text);
  }

  // The steps' and, so that no two token counts take the same, a microsecond per token.
  RunTimes made_times(std::span<const Choice> choices) const {
    RunTimes times;
    times.layer_us = plan_.tokens;
    for (const Choice& choice : choices) {
      times.step_us.push_back(made_time_us(to_text(choice)));
      times.layer_us += times.step_us.back();
    }
    return times;
  }

  std::vector<Failure> before(const std::string& text) {
    compile_once(text);
    const std::vector<Failure> failures = injector_->strikes(stage_, text);
    for (const Failure failure : failures) injector_->fail(failure, text, false);
    return failures;
  }

  // Values where there are any, else the ids.
  void damage(Failure failure, const std::vector<Buf>& written) {
    if (failure != Failure::wrong && failure != Failure::nan) return;
    const auto values = std::find_if(written.begin(), written.end(), [&](Buf id) {
      return plan_.find(id)->element != Element::i32;
    });
    const Buf id = values == written.end() ? written.front() : *values;
    Matrix m = below_->read(id);
    const bool nan = failure == Failure::nan && values != written.end();
    m(0, 0) = nan ? std::numeric_limits<double>::quiet_NaN() : m(0, 0) + 1000;
    below_->write(id, m);
  }

  static double scaled(double time_us, const std::vector<Failure>& failures) {
    for (const Failure failure : failures) {
      if (failure == Failure::slow) time_us *= 10;
      if (failure == Failure::fast) time_us /= 10;
      if (failure == Failure::zero) time_us = 0;
    }
    return time_us;
  }

  std::unique_ptr<Session> below_;
  std::shared_ptr<Injector> injector_;
  const LayerPlan plan_;
  Stage stage_ = Stage::prepare;
  std::vector<std::string> compiled_;
};

class FaultBackend final : public Backend {
 public:
  FaultBackend(const std::string& name, std::unique_ptr<Backend> below, FaultSpec spec)
      : below_(std::move(below)),
        device_(below_->device()),
        made_times_(spec.made_times),
        injector_(std::make_shared<Injector>(std::move(spec))) {
    device_.name = name;
  }
  const DeviceInfo& device() const override { return device_; }
  std::unique_ptr<Session> open(const LayerPlan& plan, std::vector<LayerWeights> sets) override {
    return std::make_unique<FaultSession>(below_->open(plan, std::move(sets)), injector_, plan);
  }
  double measure_read_gbs() override { return made_times_ ? 100 : below_->measure_read_gbs(); }
  double measure_peak_gflops() override {
    return made_times_ ? 1000 : below_->measure_peak_gflops();
  }
  std::string kernel_toolchain() const override { return below_->kernel_toolchain(); }

 private:
  std::unique_ptr<Backend> below_;
  DeviceInfo device_;
  bool made_times_;
  std::shared_ptr<Injector> injector_;
};

}  // namespace

std::unique_ptr<Backend> open_fault_backend(const std::string& name, const BackendConfig& config) {
  FaultSpec spec = parse_fault_spec(name.substr(name.find(':') + 1));
  auto below = open_backend(spec.device, config);
  return std::make_unique<FaultBackend>(name, std::move(below), std::move(spec));
}

}  // namespace fse
