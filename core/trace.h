#pragma once
#include <filesystem>
#include <string>

#include "core/op.h"
#include "core/rng.h"

namespace fse {

// A trace is a safetensors file whose `topk_ids` [rows, top_k] are the experts that a real router
// chose, one row per token.

// Why it cannot be played to a layer that routes so: the first fault of any row, with file, row and
// column; empty where every row can be. A row holds distinct experts of the layer, from no more
// groups than it keeps. Throws Error(data) for a file that holds no trace at all.
std::string trace_fault(const RoutingSpec&, const std::filesystem::path& file);

// Its rows, cycled from a drawn start: [tokens, top_k]. Throws Error(data) for a row with a fault.
Matrix draw_trace(const RoutingSpec&, const std::filesystem::path& file, int tokens, Rng&);

}  // namespace fse
