#include "tuner/worker.h"

#include <unistd.h>

#include <cerrno>
#include <map>
#include <new>

#include "core/error.h"
#include "tuner/worker_messages.h"

namespace fse {
namespace {

using nlohmann::json;

class Server {
 public:
  explicit Server(const std::function<std::unique_ptr<Workbench>()>& open) : open_(open) {}

  json answer(const std::string& line) {
    try {
      return {{"value", value_of(json::parse(line))}};
    } catch (const AttemptError& error) {
      return {{"failed", to_name(error.status)}, {"reason", error.what()}};
    } catch (const Error& error) {
      return {{"error", static_cast<int>(error.kind)}, {"reason", error.what()}};
    } catch (const std::bad_alloc&) {
      return {{"failed", to_name(Status::out_of_memory)}, {"reason", "an allocation failed"}};
    } catch (const std::exception& error) {
      return {{"mistake", error.what()}};
    }
  }

 private:
  json value_of(const json& request) {
    if (!bench_) bench_ = open_();
    for (const int id : field<std::vector<int>>(request, "close")) close(id);
    const auto what = field<std::string>(request, "do");
    if (what == "hello") return to_json(Greeting{bench_->device(), bench_->kernel_toolchain()});
    if (what == "read_gbs") return to_json(bench_->measure_read_gbs());
    if (what == "peak_gflops") return to_json(bench_->measure_peak_gflops());
    if (what == "workload") return set_workload(field<WorkloadSpec>(request, "workload"));
    if (what == "open") return open_layer(request);
    if (what == "open_step") return open_step(request);
    if (what.starts_with("layer_")) return ask_layer(what, request);
    return ask_step(what, request);
  }

  json set_workload(const WorkloadSpec& workload) {
    step_.reset();
    layers_.clear();
    bench_->set_workload(workload);
    return to_json(bench_->inputs());
  }

  json open_layer(const json& request) {
    layers_[field<int>(request, "layer")] = bench_->open(field<Variant>(request, "variant"));
    return true;
  }

  json open_step(const json& request) {
    step_.reset();
    const auto choices = choices_of(field<std::vector<ChoiceName>>(request, "choices"));
    step_layer_ = field<int>(request, "layer");
    step_ = layer(request).open_step(field<size_t>(request, "step"), choices);
    return to_json(step_->work());
  }

  json ask_layer(const std::string& what, const json& request) {
    LayerRunner& runner = layer(request);
    const auto choices = choices_of(field<std::vector<ChoiceName>>(request, "choices"));
    if (what == "layer_verify") return to_json(runner.verify(choices));
    const int round = field<int>(request, "round");
    if (what == "layer_load") return to_json(runner.load(choices, round));
    if (what == "layer_run") return to_json(runner.run(choices, round, field<int>(request, "set")));
    fail_data("request '" + what + "' is unknown");
  }

  json ask_step(const std::string& what, const json& request) {
    if (!step_) fail_data("request '" + what + "' before a step was opened");
    if (what == "reference") {
      step_->prepare_reference();
      return true;
    }
    if (what == "compile") {
      step_->compile(choices_of(field<std::vector<ChoiceName>>(request, "choices")));
      return true;
    }
    const Choice choice = choice_of(field<ChoiceName>(request, "choice"));
    if (what == "verify") {
      const Accuracy accuracy = step_->verify(choice);
      return to_json(Verified{accuracy, step_->resources(choice), step_->peak_bytes()});
    }
    if (what == "time")
      return to_json(
          step_->time_us(choice, field<int>(request, "round"), field<Stage>(request, "stage")));
    fail_data("request '" + what + "' is unknown");
  }

  LayerRunner& layer(const json& request) {
    const int id = field<int>(request, "layer");
    const auto found = layers_.find(id);
    if (found == layers_.end()) fail_data("layer " + std::to_string(id) + " is not open");
    return *found->second;
  }

  void close(int id) {
    if (step_layer_ == id) step_.reset();
    layers_.erase(id);
  }

  const std::function<std::unique_ptr<Workbench>()>& open_;
  std::unique_ptr<Workbench> bench_;
  std::map<int, std::unique_ptr<LayerRunner>> layers_;
  std::unique_ptr<StepRunner> step_;
  int step_layer_ = -1;
};

void write_all(int out, const std::string& text) {
  for (size_t written = 0; written < text.size();) {
    const ssize_t n = write(out, text.data() + written, text.size() - written);
    if (n > 0) written += static_cast<size_t>(n);
    if (n < 0 && errno != EINTR) return;  // the parent is gone; the input ends as well
  }
}

}  // namespace

void serve_requests(int in, int out, const std::function<std::unique_ptr<Workbench>()>& open) {
  Server server(open);
  std::string received;
  char buffer[65536];
  while (true) {
    const ssize_t n = read(in, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    received.append(buffer, static_cast<size_t>(n));
    for (size_t end; (end = received.find('\n')) != std::string::npos; received.erase(0, end + 1))
      write_all(out, to_line(server.answer(received.substr(0, end))) + "\n");
  }
}

}  // namespace fse
