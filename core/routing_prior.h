#pragma once
#include "core/case.h"
#include "core/routing_model.h"

namespace fse {

// What a workload's routing means for the expected load of a layer. dirichlet(a): the mean
// popularity of each rank over draws; trace: how often its rows, some thousands of them, choose
// each expert. Throws what the trace's reader throws.
RoutingPrior prior_of(const RoutingDistribution&, const RoutingSpec&);

}  // namespace fse
