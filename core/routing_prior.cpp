#include "core/routing_prior.h"

#include <algorithm>
#include <functional>

#include "core/trace.h"

namespace fse {
namespace {

constexpr int kDraws = 64, kTraceRows = 4096;

// Normalised popularities, largest first, in the mean: what rank each expert has does not matter.
std::vector<double> dirichlet_ranks(double concentration, int experts) {
  std::vector<double> mean(static_cast<size_t>(experts), 0.0);
  Rng rng(1);
  for (int draw = 0; draw < kDraws; ++draw) {
    std::vector<double> drawn(mean.size());
    double sum = 0;
    for (double& value : drawn) sum += value = std::max(rng.gamma(concentration), 1e-300);
    std::sort(drawn.begin(), drawn.end(), std::greater<>());
    for (size_t rank = 0; rank < mean.size(); ++rank) mean[rank] += drawn[rank] / sum / kDraws;
  }
  return mean;
}

std::vector<double> trace_counts(const RoutingSpec& spec, const std::filesystem::path& file) {
  Rng rng(1);
  const Matrix ids = draw_trace(spec, file, kTraceRows, rng);
  std::vector<double> counts(static_cast<size_t>(spec.experts), 0.0);
  for (const double id : ids.reshaped()) ++counts[static_cast<size_t>(id)];
  return counts;
}

}  // namespace

RoutingPrior prior_of(const RoutingDistribution& routing, const RoutingSpec& spec) {
  switch (routing.kind) {
    case RoutingKind::uniform:
      return {};
    case RoutingKind::zipf:
      return {.kind = PriorKind::zipf, .parameter = routing.parameter, .counts = {}};
    case RoutingKind::dirichlet:
      return {.kind = PriorKind::trace, .counts = dirichlet_ranks(routing.parameter, spec.experts)};
    case RoutingKind::trace:
      return {.kind = PriorKind::trace, .counts = trace_counts(spec, routing.trace)};
  }
  return {};
}

}  // namespace fse
