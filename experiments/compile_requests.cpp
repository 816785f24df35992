#include "experiments/compile_requests.h"

#include <fmt/format.h>

#include <vector>

#include "experiments/device_choice.h"
#include "kernels/instance.h"

namespace fse {

std::unique_ptr<Jit> make_jit(const std::string& arch) {
  const BackendConfig config = backend_config();
  return std::make_unique<Jit>(
      JitConfig{.headers = read_device_headers(config.device_dir), .cache_dir = config.cache_dir},
      arch);
}

void add_request(const Choice& choice, const LayerPlan& plan, const Step& step,
                 std::map<std::string, JitRequest>& requests) {
  if (auto request = instance_of(choice, plan, step))
    requests.emplace(request->expression, *request);
}

int compile_requests(const std::map<std::string, JitRequest>& wanted, const std::string& arch) {
  std::vector<JitRequest> requests;
  for (const auto& [name, request] : wanted) requests.push_back(request);
  const auto jit = make_jit(arch);
  const auto results = jit->compile_all(requests, backend_config().compile_threads);
  int failures = 0;
  for (size_t i = 0; i < results.size(); ++i)
    if (const auto* failed = std::get_if<CompileFailed>(&results[i])) {
      ++failures;
      fmt::print("FAILED {}: {}\n", requests[i].expression, failed->reason);
    }
  fmt::print("{} instances for {} by {}: {} failed\n", requests.size(), arch, jit->compiler(),
             failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace fse
