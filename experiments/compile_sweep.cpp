#include "experiments/compile_sweep.h"

#include <algorithm>
#include <map>

#include "core/rng.h"
#include "experiments/compile_requests.h"
#include "experiments/paths.h"
#include "experiments/shard_choice.h"
#include "experiments/sweep.h"
#include "kernels/gpu/layer.h"
#include "tuner/choice_space.h"

namespace fse {
namespace {

// The first that a search asks for, where nothing is told it: the cost model's favourites, or a
// draw.
std::vector<Choice> first_asked(const std::vector<Choice>& all, const SearchSpace& space,
                                uint64_t seed, size_t most) {
  Rng rng(seed);
  Searcher searcher(space, automatic_method(space, all.size()), rng.next());
  std::vector<Choice> first;
  for (auto point = searcher.ask(); point && first.size() < most; point = searcher.ask())
    first.push_back(all[*point]);
  return first;
}

// Every nth, by name.
std::map<std::string, JitRequest> part_of(const std::map<std::string, JitRequest>& all,
                                          const ShardChoice& shard) {
  std::map<std::string, JitRequest> part;
  int i = 0;
  for (const auto& request : all)
    if (i++ % shard.of + 1 == shard.number) part.insert(request);
  return part;
}

}  // namespace

int compile_sweep(const CompileSweepOptions& options) {
  const ShardChoice shard = read_shard(options.shard);
  const SweepSpec sweep = read_sweep(find_sweep(options.sweep, configs_dir()), options.overrides);
  const DeviceInfo device = typical_gpu(options.arch);
  std::map<std::string, JitRequest> wanted;  // cases share most of their instances
  for (const CaseRecord& record : expand(sweep, device, configs_dir()).cases) {
    if (record.state == CaseState::refused) continue;
    const LayerPlan plan = make_plan(record.spec, device);
    for (const Step& step : plan.steps) {
      std::vector<Choice> all = candidates(plan, step, device, sweep.tune.tiles);
      if (options.likely > 0)
        all = first_asked(all, space_of(all, plan, step, device), record.spec.seed,
                          1 + static_cast<size_t>(options.likely));
      for (const Choice& choice : all) add_request(choice, plan, step, wanted);
    }
  }
  return compile_requests(part_of(wanted, shard), device.arch);
}

}  // namespace fse
