#pragma once
#include <cstdint>
#include <span>

#include "core/layer_spec.h"

namespace fse {

// An expert that may be chosen, or a group.
struct Candidate {
  float key;
  int32_t id;
};

// Working memory of select_row, of this many candidates.
int64_t select_scratch(const RoutingSpec&);

// The top_k experts of one token by the rule of core/routing.h, best first. NaN scores rank below
// every number and weigh 0.
void select_row(const RoutingSpec&, const float* scores, const float* bias,
                std::span<Candidate> scratch, int32_t* ids, float* weights);

// weights / their sum where the layer renormalises, times scaling.
void weigh_row(const RoutingSpec&, float* weights);

}  // namespace fse
