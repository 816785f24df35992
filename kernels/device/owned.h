#pragma once
// The expert part of a layer of few tokens: every block sorts the pairs in LDS, and in stage 2 owns
// 16 rows of the output, so that there is no y, no combine, and one grid barrier less.
#include "kernels/device/gpu.h"
#include "kernels/device/layer_tile.h"
#include "kernels/device/stream.h"

namespace fse::gpu {

struct OwnedPlan {
  UnitList list;
  const int* pairs;
  const float* weights;

  template <class Work>
  FSE_D void operator()(Work& work) const {
    work.list = list;
    work.pairs = pairs;
    work.weights = weights;
    work.staged = true;
  }
};

// A thread for each pair: it counts the pairs before its own, (id, pair) ascending. Empty pairs
// come last and belong to no unit. One unit per expert.
FSE_D OwnedPlan plan_owned(const Args& a, char* lds, const OwnedLayout& at) {
  const int pairs = a.n.tokens * a.n.choices, me = thread_index();
  int* sorted = reinterpret_cast<int*>(lds + at.pairs);
  float* weights = reinterpret_cast<float*>(lds + at.weights);
  int* ids = reinterpret_cast<int*>(lds + at.ids);
  u32* words = reinterpret_cast<u32*>(lds + at.units);
  int* unsorted = reinterpret_cast<int*>(words);  // until there are units
  const int id = me < pairs ? a.topk_ids[me] : -1;
  const float weight = me < pairs ? a.topk_weights[me] : 0.f;
  const int key = id >= 0 && id < a.n.expert_count ? id : a.n.expert_count;
  if (me < pairs) unsorted[me] = key;
  block_sync();
  int row = 0;
  if (me < pairs) {
#pragma unroll 8
    for (int p = 0; p < pairs; ++p) row += unsorted[p] < key || (unsorted[p] == key && p < me);
    sorted[row] = me;
    weights[row] = weight;
    ids[row] = key;
  }
  block_sync();
  // The thread of an expert's first row writes its unit. Word 2 * pairs counts them.
  if (me < pairs) {
    const int expert = ids[me];
    int unit = 0, count = 0;
#pragma unroll 8
    for (int r = 0; r < pairs; ++r) {
      const bool first = r == 0 || ids[r - 1] != ids[r];
      unit += first && r < me;
      count += ids[r] == expert;
    }
    const bool first = me == 0 || ids[me - 1] != expert;
    if (first && expert < a.n.expert_count) {
      u32 tokens = 0;
      for (int r = me; r < me + count; ++r) tokens |= 1u << sorted[r] / a.n.choices;
      words[2 * unit] = static_cast<u32>(expert) | static_cast<u32>(count) << 16 | tokens << 24;
      words[2 * unit + 1] = static_cast<u32>(me);
    }
    // The last row knows how many units there are.
    if (me == pairs - 1)
      words[2 * pairs] = static_cast<u32>(unit + (first && expert < a.n.expert_count) -
                                          (!first && expert == a.n.expert_count));
  }
  block_sync();
  return {{words, static_cast<int>(words[2 * pairs])}, sorted, weights};
}

template <LayerTile T, Shape S>
FSE_D void owned_ops(const Args& a, char* lds, int barrier) {
  const OwnedLayout at = owned_layout(T, a.n);
  const OwnedPlan plan = plan_owned(a, lds, at);
  stream_op<stage1_tile(T), S, kStage1>(a, lds, plan, [] {});
  grid_arrive(a.barrier, barrier);
  stream_op<stage2_tile(T), S, kOwnedStage2>(a, lds, plan, [&] { grid_wait(a.barrier, barrier); });
}

}  // namespace fse::gpu
