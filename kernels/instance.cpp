#include "kernels/instance.h"

namespace fse {

std::optional<JitRequest> instance_of(const Choice& choice, const LayerPlan& plan,
                                      const Step& step) {
  if (!choice.kernel->instance) return std::nullopt;
  std::string name = choice.kernel->instance(choice.tile, plan, step);
  if (name.empty()) return std::nullopt;
  return JitRequest{choice.kernel->header, std::move(name)};
}

}  // namespace fse
