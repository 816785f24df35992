#pragma once
#include <string>

#include "experiments/freshness.h"
#include "reports/grid.h"
#include "tuner/dispatch_store.h"

namespace fse {

// One layer's dispatch as tables.
struct Dispatched {
  LayerDispatch layers;
  DispatchTable table;
  Environment environment;
  double most = 0.02;  // the regret that was asked for
};
// Of every layer that the filter takes; Error(usage) where there is none.
std::vector<Dispatched> dispatch_layers(const Store&, const Filter&, double most_regret);

// "qwen3-next-80b-a3b bf16 tp=1 cold_weights on hip:0 (NVIDIA H100 80GB HBM3)"
std::string dispatch_title(const Dispatched&);
// What the tables cost and whether that is what was asked for, in one sentence.
std::string dispatch_summary(const Dispatched&);

// The token counts of a row: those whose tokens per expert lie between its begin and the next's.
struct TokenRange {
  int from = 0, to = 0;
};
TokenRange tokens_of(const DispatchTable&, const std::vector<DispatchRow>&, size_t row,
                     double experts_per_token);

// What dispatch_steps() needs for one row.
StepQuery query_of(const Dispatched&, const DispatchPart&, size_t row);

Grid row_grid(const Dispatched&);                 // one row per range: its variant
Grid cost_grid(const Dispatched&);                // size against regret
Grid tile_grid(const Store&, const Dispatched&);  // kernel and tile of every step of every row

// One answer: the variant, and its kernels and tiles, a row per step. Where the answer is `stale`
// or `default` they are the defaults.
struct Looked {
  DispatchAnswer answer;
  std::string variant;
  Grid steps;
};
Looked look_up_layer(const Store&, const Dispatched&, int tokens, const std::string& routing,
                     const Freshness&);

// Prepends what tells one layer's rows from another's: model, dtype, ..., environment.
Grid with_layer(const Dispatched&, Grid);

}  // namespace fse
