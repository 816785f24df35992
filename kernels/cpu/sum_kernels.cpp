#include <algorithm>
#include <cstring>

#include "kernels/cpu/elementwise.h"
#include "kernels/cpu/families.h"
#include "kernels/cpu/team.h"

namespace fse {
namespace {

// The parts of a [tokens, hidden] buffer, `cols` columns of a row each, that this thread does.
template <class Work>
void for_my_parts(const CpuArgs& a, const Tile& tile, Team& team, const Work& work) {
  const std::optional<Team> part = team.first(tile.at("threads"));
  if (!part) return;
  const int64_t hidden = a.plan.layer.hidden;
  const int64_t cols = tile.at("cols");
  const int64_t parts_per_row = (hidden + cols - 1) / cols;
  const auto [first, last] = part->share(parts_per_row * a.plan.tokens);
  for (int64_t i = first; i < last; ++i) {
    const int64_t begin = i % parts_per_row * cols;
    work(i / parts_per_row, begin, std::min(cols, hidden - begin));
  }
}

void combine(const CpuArgs& a, const Tile& tile, Team& team) {
  const int64_t hidden = a.plan.layer.hidden;
  const int64_t choices = a.plan.choices();
  const int32_t* ids = a.i32(Buf::topk_ids);
  const float* y = a.f32(Buf::y);
  for_my_parts(a, tile, team, [&](int64_t t, int64_t begin, int64_t n) {
    float* out = a.f32(Buf::out) + t * hidden + begin;
    bool empty = true;
    for (int64_t pair = t * choices; pair < (t + 1) * choices; ++pair) {
      if (ids[pair] < 0 || ids[pair] >= a.plan.expert_count()) continue;
      const float* row = y + pair * hidden + begin;
      if (empty)
        std::memcpy(out, row, static_cast<size_t>(n) * sizeof(float));
      else
        add_to(row, out, n);
      empty = false;
    }
    if (empty) std::fill(out, out + n, 0.0f);
  });
}

void shared_add(const CpuArgs& a, const Tile& tile, Team& team) {
  const int64_t hidden = a.plan.layer.hidden;
  for_my_parts(a, tile, team, [&](int64_t t, int64_t begin, int64_t n) {
    add_to(a.f32(Buf::shared_out) + t * hidden + begin, a.f32(Buf::out) + t * hidden + begin, n);
  });
}

Tile default_tile(const LayerPlan&, const Step&, const DeviceInfo&) {
  return {{{"threads", 0}, {"cols", 1024}}};
}

KernelDef row(const char* name, Op op, void (*run)(const CpuArgs&, const Tile&, Team&)) {
  return {.name = name,
          .op = op,
          .device = "cpu",
          .axes = {threads_axis(), {"cols", {256, 1024, 4096}}},
          .legal = always_legal,
          .fits = threads_fit,
          .default_tile = default_tile,
          .run_cpu = run};
}

}  // namespace

std::vector<KernelDef> cpu_sum_kernels() {
  return {row("cpu.combine", Op::combine, combine),
          row("cpu.shared_add", Op::shared_add, shared_add)};
}

}  // namespace fse
