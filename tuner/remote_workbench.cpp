#include "tuner/remote_workbench.h"

#include <fmt/format.h>

#include "core/error.h"
#include "tuner/child_process.h"
#include "tuner/worker_messages.h"

namespace fse {
namespace {

using nlohmann::json;

// The worker that lives now, and the workload it is to have.
class Link {
 public:
  explicit Link(WorkerSpec spec) : spec_(std::move(spec)) { start(); }

  const Greeting& greeting() const { return greeting_; }
  int inputs() const { return inputs_; }
  // Counts the workers: what an earlier one had open is gone.
  int generation() const { return generation_; }

  void set_workload(const WorkloadSpec& workload) {
    workload_ = workload;
    send_workload();
  }

  // A living worker with the workload.
  void restore() {
    if (child_) return;
    start();
    if (workload_) send_workload();
  }

  // The worker ends; the next question starts another.
  void renew() { child_.reset(); }
  void count_attempt() {
    if (attempts_ == spec_.most_attempts) renew();
    ++attempts_;
  }

  const std::function<bool()>& stop() const { return spec_.stop; }
  void close_later(int layer) { to_close_.push_back(layer); }

  // `stop` where the worker may be given up for it: throws Error(incomplete).
  json ask(Stage stage, const std::string& what, json request = json::object(),
           const std::function<bool()>& stop = {}) {
    request["do"] = what;
    request["close"] = to_close_;
    to_close_.clear();
    check(child_ != nullptr, "a worker is there when it is asked");
    const double seconds = spec_.deadlines.of(stage);
    std::string line;
    const auto end = child_->ask(to_line(request), seconds, line, stop);
    if (end == ChildProcess::End::answered) return value_of(json::parse(line));
    const std::string words = child_->last_words();
    const std::string death = end == ChildProcess::End::late
                                  ? fmt::format("no answer within {} s", seconds)
                                  : child_->death();
    child_.reset();
    if (end == ChildProcess::End::stopped) throw Error(ErrorKind::incomplete, "stopped");
    throw AttemptError(
        end == ChildProcess::End::late ? Status::timed_out : Status::crashed,
        fmt::format("{} in {}{}{}", death, to_name(stage), words.empty() ? "" : ": ", words),
        false);
  }

 private:
  void start() {
    child_ = std::make_unique<ChildProcess>(spec_.command);
    ++generation_;
    attempts_ = 0;
    to_close_.clear();
    try {
      const auto greeting = from_json<Greeting>(ask(Stage::prepare, "hello"));
      if (generation_ == 1) greeting_ = greeting;  // the device stays what it was
    } catch (const AttemptError& error) {
      throw Error(ErrorKind::environment, fmt::format("worker: {}", error.what()));
    }
  }

  void send_workload() {
    inputs_ = ask(Stage::prepare, "workload", {{"workload", to_json(*workload_)}}).get<int>();
  }

  json value_of(json answer) {
    if (answer.contains("value")) return std::move(answer["value"]);
    if (answer.contains("mistake"))
      throw std::logic_error("worker: " + answer["mistake"].get<std::string>());
    const auto reason = answer.at("reason").get<std::string>();
    if (answer.contains("error")) throw Error(ErrorKind{answer["error"].get<int>()}, reason);
    const auto status = from_json<Status>(answer.at("failed"));
    if (status == Status::crashed) child_.reset();  // nothing it answers counts any more
    throw AttemptError(status, reason, false);
  }

  WorkerSpec spec_;
  std::unique_ptr<ChildProcess> child_;
  Greeting greeting_;
  std::optional<WorkloadSpec> workload_;
  int inputs_ = 0, generation_ = 0, attempts_ = 0;
  std::vector<int> to_close_;
};

// Knows how to open itself again in another worker.
class RemoteLayer final : public LayerRunner {
 public:
  RemoteLayer(Link& link, int id, const Variant& variant)
      : link_(link), id_(id), variant_(variant) {
    restore();
  }
  ~RemoteLayer() override { link_.close_later(id_); }

  // True where it had to be opened.
  bool restore() {
    link_.restore();
    if (generation_ == link_.generation()) return false;
    link_.ask(Stage::prepare, "open", {{"layer", id_}, {"variant", to_json(variant_)}});
    generation_ = link_.generation();
    return true;
  }
  int id() const { return id_; }

  std::unique_ptr<StepRunner> open_step(size_t step, std::span<const Choice> choices) override;

  LayerCheck verify(std::span<const Choice> choices) override {
    restore();
    return from_json<LayerCheck>(link_.ask(Stage::layer_verify, "layer_verify", about(choices)));
  }
  RunTimes run(std::span<const Choice> choices, int round, int set) override {
    if (restore()) load(choices, round);  // the first run of a session is no measurement
    json request = about(choices);
    request["round"] = round;
    request["set"] = set;
    return from_json<RunTimes>(link_.ask(Stage::layer_measure, "layer_run", std::move(request)));
  }
  Load load(std::span<const Choice> choices, int round) override {
    restore();
    json request = about(choices);
    request["round"] = round;
    return from_json<Load>(link_.ask(Stage::layer_measure, "layer_load", std::move(request)));
  }

 private:
  json about(std::span<const Choice> choices) const {
    return {{"layer", id_}, {"choices", to_json(names_of(choices))}};
  }

  Link& link_;
  const int id_;
  const Variant variant_;
  int generation_ = 0;
};

class RemoteStep final : public StepRunner {
 public:
  RemoteStep(Link& link, RemoteLayer& layer, size_t step, std::span<const Choice> choices)
      : link_(link), layer_(layer), step_(step), choices_(choices.begin(), choices.end()) {
    restore();
  }

  void restore() override {
    layer_.restore();
    if (generation_ == link_.generation()) return;
    const json answer = link_.ask(
        Stage::prepare, "open_step",
        {{"layer", layer_.id()}, {"step", step_}, {"choices", to_json(names_of(before()))}});
    work_ = from_json<Work>(answer);
    generation_ = link_.generation();
  }
  void prepare_reference() override {
    restore();
    link_.ask(Stage::prepare, "reference");
  }
  void compile(std::span<const Choice> soon) override {
    restore();
    try {
      link_.ask(Stage::compile, "compile", {{"choices", to_json(names_of(soon))}});
    } catch (const AttemptError& error) {
      // Which of them it was shows when each is run, alone.
      if (error.status != Status::crashed && error.status != Status::timed_out) throw;
    }
  }
  Accuracy verify(const Choice& choice) override {
    link_.count_attempt();
    restore();
    const auto answer = from_json<Verified>(
        link_.ask(Stage::verify, "verify", {{"choice", to_json(name_of(choice))}}));
    resources_ = answer.resources;
    peak_bytes_ = answer.peak_bytes;
    return answer.accuracy;
  }
  // Those of the choice that was verified last.
  std::optional<KernelResources> resources(const Choice&) override { return resources_; }
  int64_t peak_bytes() override { return peak_bytes_; }
  double time_us(const Choice& choice, int round, Stage stage) override {
    restore();
    return from_json<double>(link_.ask(
        stage, "time",
        {{"choice", to_json(name_of(choice))}, {"round", round}, {"stage", to_json(stage)}}));
  }
  Work work() const override { return work_; }

 private:
  // What a step needs of the choices: those before it, and its own where it is a whole layer.
  std::span<const Choice> before() const {
    return std::span(choices_).first(std::min(step_ + 1, choices_.size()));
  }

  Link& link_;
  RemoteLayer& layer_;
  const size_t step_;
  const std::vector<Choice> choices_;
  int generation_ = 0;
  Work work_;
  std::optional<KernelResources> resources_;
  int64_t peak_bytes_ = 0;
};

std::unique_ptr<StepRunner> RemoteLayer::open_step(size_t step, std::span<const Choice> choices) {
  return std::make_unique<RemoteStep>(link_, *this, step, choices);
}

class RemoteWorkbench final : public Workbench {
 public:
  explicit RemoteWorkbench(WorkerSpec spec) : link_(std::move(spec)) {}
  const DeviceInfo& device() const override { return link_.greeting().device; }
  std::string kernel_toolchain() const override { return link_.greeting().toolchain; }
  double measure_read_gbs() override { return measure("read_gbs"); }
  double measure_peak_gflops() override { return measure("peak_gflops"); }
  void set_workload(const WorkloadSpec& workload) override {
    link_.restore();
    link_.set_workload(workload);
  }
  int inputs() const override { return link_.inputs(); }
  bool renew() override {
    link_.renew();
    return true;
  }
  std::unique_ptr<LayerRunner> open(const Variant& variant) override {
    return std::make_unique<RemoteLayer>(link_, next_layer_++, variant);
  }

 private:
  double measure(const std::string& what) {
    link_.restore();
    return from_json<double>(link_.ask(Stage::prepare, what, {}, link_.stop()));
  }

  Link link_;
  int next_layer_ = 0;
};

}  // namespace

std::unique_ptr<Workbench> open_worker(WorkerSpec spec) {
  return std::make_unique<RemoteWorkbench>(std::move(spec));
}

}  // namespace fse
