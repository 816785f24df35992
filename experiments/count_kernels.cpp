#include "experiments/count_kernels.h"

#include <fmt/format.h>

#include "core/error.h"
#include "experiments/environment.h"
#include "kernels/emulator/declared.h"
#include "tuner/tune.h"

namespace fse {

KernelCounting::KernelCounting(Backend& backend, const std::filesystem::path& db)
    : device_(backend.device()) {
  if (device_.kind != "emu")
    fail_usage(fmt::format("device '{}' counts nothing, expected an emulated one: emu:gfx942, ...",
                           device_.name));
  if (db.empty()) return;
  store_ = Store::create_or_open(db);
  environment_ = store_->add_environment(environment_here(device_, backend.kernel_toolchain()));
}

CountRecord KernelCounting::count_one(Session& session, const LayerPlan& plan, size_t step,
                                      const Choice& choice, const Load& load) const {
  const Step& s = plan.steps[step];
  const auto counters = session.count_step(static_cast<int>(step), choice, 0);
  check(counters.has_value(), "an emulated device counts");
  return {.step_key = step_key(plan, s),
          .workload = {},
          .op = to_name(s.op),
          .kernel = choice.kernel->name,
          .tile = choice.tile,
          .pairs = load.pairs(),
          .active_experts = load.active(),
          .bytes = op_def(s.op).bytes(plan, s, load),
          .flops = op_def(s.op).flops(plan, s, load),
          .counters = *counters,
          .finding = why_not_as_declared(*counters, plan, s, choice, device_, load)};
}

std::vector<CountRecord> KernelCounting::count(Session& session, const LayerPlan& plan,
                                               std::span<const Choice> choices,
                                               const std::string& workload, bool all_tiles) {
  const Load load = load_of(session.read(Buf::topk_ids), plan.expert_count());
  std::vector<CountRecord> all;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    std::vector<Choice> wanted{choices[i]};
    if (all_tiles) wanted = candidates(plan, plan.steps[i], device_, {});
    for (const Choice& choice : wanted) {
      if (is_library(choice.kernel->name)) continue;  // whose own kernels nobody knows
      const std::string key = step_key(plan, plan.steps[i]) + workload + to_text(choice);
      if (!done_.insert(key).second) continue;
      all.push_back(count_one(session, plan, i, choice, load));
      all.back().workload = workload;
      if (store_) store_->add_count(environment_, all.back());
    }
  }
  return all;
}

std::string count_text(const CountRecord& r) {
  const KernelCounters& c = r.counters;
  return fmt::format(
      "{} bytes loaded, {} stored ({:.0f} declared; {} and {} lines)  LDS conflicts {:.0f} %  "
      "{} matrix instructions  divergent {:.0f} %",
      c.loaded_bytes, c.stored_bytes, r.bytes, c.loaded_lines, c.stored_lines,
      100 * c.conflict_share(), c.matrix_instructions, 100 * c.divergent_share());
}

}  // namespace fse
