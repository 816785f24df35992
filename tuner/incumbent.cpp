#include "tuner/incumbent.h"

#include <fmt/format.h>

namespace fse {
namespace {

std::optional<Choice> candidate(const LayerPlan& plan, const Step& step, const DeviceInfo& device,
                                const TuneSpec& spec, const std::string& kernel, const Tile& tile) {
  for (const Choice& choice : candidates(plan, step, device, spec.tiles))
    if (choice.kernel->name == kernel && choice.tile == tile) return choice;
  return std::nullopt;
}

std::string name_of(const Store::EarlierWinner& winner) {
  constexpr size_t kDate = 10;  // of 2026-11-25T02:17:21.123Z
  return fmt::format("the winner of study {}, {}", winner.study, winner.since.substr(0, kDate));
}

}  // namespace

std::optional<StepIncumbent> step_incumbent(const LayerPlan& plan, const Step& step,
                                            const DeviceInfo& device, const Ledger& ledger,
                                            const TuneSpec& spec) {
  const auto winner = ledger.store.earlier_winner("step", step_key(plan, step), ledger.workload,
                                                  ledger.environment, ledger.study);
  if (!winner) return std::nullopt;
  const auto choice =
      candidate(plan, step, device, spec, winner->record.kernel, winner->record.tile);
  if (!choice) return std::nullopt;
  return StepIncumbent{*choice, name_of(*winner)};
}

std::optional<Combination> layer_incumbent(const LayerPlan& plan, const std::string& case_id,
                                           const DeviceInfo& device, const Ledger& ledger,
                                           const TuneSpec& spec) {
  const auto winner = ledger.store.earlier_winner("layer", case_id, ledger.workload,
                                                  ledger.environment, ledger.study);
  if (!winner || winner->record.steps.size() != plan.steps.size()) return std::nullopt;
  Combination layer{.name = name_of(*winner), .choices = {}};
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const StepTime& was = winner->record.steps[i];
    const auto choice = candidate(plan, plan.steps[i], device, spec, was.kernel, was.tile);
    if (!choice || was.step != plan.steps[i].name) return std::nullopt;
    layer.choices.push_back(*choice);
  }
  return layer;
}

}  // namespace fse
