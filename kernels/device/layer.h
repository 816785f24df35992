#pragma once
// A layer in one cooperative launch: the ops of the staged form, with grid barriers for launches.
// While blocks wait for the slowest, the weights of the next op are already on their way.
#include "kernels/device/dispatch.h"
#include "kernels/device/few_tokens.h"
#include "kernels/device/grid_barrier.h"
#include "kernels/device/layer_tile.h"
#include "kernels/device/owned.h"
#include "kernels/device/rows.h"
#include "kernels/device/stream.h"
#include "kernels/device/topk_block.h"

namespace fse::gpu {

// Waves of all blocks, or of each block alone, route the tokens. In the latter case a block keeps
// what it found (owned), or every block stores the same words: what it reads back is its own.
template <LayerTile T, Shape S, class Store>
FSE_D void route_by_block(const Args& a, char* lds, const Store& store) {
  BlockChosen* chosen = reinterpret_cast<BlockChosen*>(lds + block_topk_lds(S, T.warps));
#pragma unroll 1
  for (int t = 0; t < a.n.tokens; ++t)
    choose_by_block<S, T.warps>(a, t, StoredLogits{a.router_logits + i64{t} * a.n.logits_stride},
                                lds, chosen[t], [](int, int) {});
  block_sync();
#pragma unroll 1
  for (int t = wave_index(); t < a.n.tokens; t += T.warps) weigh_by_wave(a, t, chosen[t], store);
}
template <LayerTile T, Shape S, class Store>
FSE_D void route_by_waves(const Args& a, char* lds, const Store& store) {
  const int wave = wave_index();
  char* own = lds + wave * (topk_lds({0, T.warps}, S, a.r) / T.warps);
  const int first = T.spread == 1 ? wave * block_count() + block_index() : wave;
  const int stride = T.warps * (T.spread == 1 ? block_count() : 1);
#pragma unroll 1
  for (i64 t = first; t < a.n.tokens; t += stride) topk_token<S>(a, t, own, store);
}

template <LayerTile T, Shape S, class Store>
FSE_D void route_to(const Args& a, char* lds, const Store& store) {
  if constexpr (T.spread == 2)
    route_by_block<T, S>(a, lds, store);
  else
    route_by_waves<T, S>(a, lds, store);
}
template <LayerTile T, Shape S>
FSE_D void route(const Args& a, char* lds) {
  if constexpr (T.owned != 0 && T.spread != 1)
    route_to<T, S>(a, lds, KeepChoice(a, lds + owned_layout(T, S, a.n, a.r).choices));
  else
    route_to<T, S>(a, lds, StoreChoice{a});
  if constexpr (T.spread == 1) {
    grid_arrive(a.barrier, 1);
    grid_wait(a.barrier, 1);
  } else {
    block_sync();
  }
}

template <LayerTile T, Shape S>
FSE_D void staged_ops(const Args& a, char* lds) {
  const BuildFromOffsets<false, S> plan{lds};
  // Every block sorts for itself and stores the same words, as above.
  dispatch_op<dispatch_waves(T)>(a, lds);
  block_sync();
  stream_op<stage1_tile(T), S, kStage1>(
      a, lds, plan, [] {}, [] {});
  grid_arrive(a.barrier, 2);
  stream_op<stage2_tile(T), S, kStage2>(
      a, lds, plan, [&] { grid_wait(a.barrier, 2); }, [] {});
  grid_arrive(a.barrier, kLastBarrier);
  grid_wait(a.barrier, kLastBarrier);
  combine_op<S>(a, block_index(), block_count());
}

template <LayerTile T, Shape S>
__global__ void __launch_bounds__(T.warps* kWave, 1) layer(const Args a) {
  static_assert(why_not(T)[0] == 0, "layer: the tile is not legal, see why_not(LayerTile)");
  char* lds = dynamic_lds();
  if constexpr (T.owned == 1) return few_tokens<T, S>(a, lds);
  begin_dependent<T.dependent != 0>();
  stream_op<gate_tile(T), S, kGate>(
      a, lds, BuildFromOffsets<false, S>{lds}, [] {}, [] {});
  grid_arrive(a.barrier, 0);
  prefetch_slots<S>(a);
  grid_wait(a.barrier, 0);
  route<T, S>(a, lds);
  if constexpr (T.owned != 0)
    owned_ops<T, S>(a, lds);
  else
    staged_ops<T, S>(a, lds);
}

}  // namespace fse::gpu
