#include "core/weights_layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace fse {
namespace {

// A run of a checkpoint's intermediate axis that lies in one expert index.
struct Run {
  int index = 0;    // expert index that stores it
  int local = 0;    // first row there
  int logical = 0;  // first row of the checkpoint
  int count = 0;
};

const AxisRange& range_of(const LayerWeights& w, int expert) {
  return expert < w.layer.routing.experts ? w.shard.routed : w.shard.shared;
}

std::vector<Run> runs(const LayerWeights& w, int expert) {
  const AxisRange& range = range_of(w, expert);
  const int width = w.shard.intermediate;
  std::vector<Run> result;
  for (int logical = range.begin; logical < range.end;) {
    const int stored = logical - range.stored_begin;
    const int count = std::min(range.end - logical, width - stored % width);
    result.push_back({expert + stored / width, stored % width, logical, count});
    logical += count;
  }
  return result;
}

int whole_width(const LayerWeights& w, int expert) {
  return expert < w.layer.routing.experts ? w.layer.intermediate : w.layer.shared.shared_width;
}

// Calls copy(packed offset, whole offset, count), in elements, for every contiguous piece.
template <class Copy>
int64_t for_each_piece(const LayerWeights& w, Projection p, int expert, const Copy& copy) {
  const int64_t hidden = w.layer.hidden;
  const int64_t width = w.shard.intermediate;
  int64_t elements = 0;
  for (const Run& run : runs(w, expert)) {
    elements += run.count * hidden;
    if (p != Projection::down) {
      const int64_t row = (int64_t{run.index} * 2 + (p == Projection::up)) * width + run.local;
      copy(row * hidden, run.logical * hidden, run.count * hidden);
      continue;
    }
    for (int64_t h = 0; h < hidden; ++h)
      copy((run.index * hidden + h) * width + run.local, h * whole_width(w, expert) + run.logical,
           int64_t{run.count});
  }
  return elements;
}

// Calls copy(packed scale, whole scale) for every block of the stored range. Blocks that added
// columns share with owned ones keep their scale; stored_begin lies on the checkpoint's grid.
template <class Copy>
void for_each_scale(const LayerWeights& w, Projection p, int expert, const Copy& copy) {
  const AxisRange& range = range_of(w, expert);
  const int64_t hidden_blocks = scale_blocks(w.layer.hidden);
  const int64_t width_blocks = scale_blocks(w.shard.intermediate);
  const int64_t whole_blocks = scale_blocks(whole_width(w, expert));
  for (int64_t b = range.stored_begin / kScaleBlock; b < scale_blocks(range.stored_end); ++b) {
    const int64_t stored = b * kScaleBlock - range.stored_begin;
    const int64_t index = expert + stored / w.shard.intermediate;
    check(stored % w.shard.intermediate % kScaleBlock == 0, "slots begin on the scale grid");
    const int64_t local = stored % w.shard.intermediate / kScaleBlock;
    for (int64_t h = 0; h < hidden_blocks; ++h) {
      if (p == Projection::down)
        copy((index * hidden_blocks + h) * width_blocks + local, h * whole_blocks + b);
      else
        copy(((index * 2 + (p == Projection::up)) * width_blocks + local) * hidden_blocks + h,
             b * hidden_blocks + h);
    }
  }
}

void zero_rows(LayerWeights& w, int64_t index, int begin, int end) {
  if (begin >= end) return;
  const int64_t bytes = element_bytes(w.layer.dtype);
  const int64_t hidden = w.layer.hidden;
  const int64_t width = w.shard.intermediate;
  const auto count = static_cast<size_t>(end - begin);
  for (int64_t half = 0; half < 2; ++half)
    std::memset(writable(w.gate_up) + ((index * 2 + half) * width + begin) * hidden * bytes, 0,
                count * static_cast<size_t>(hidden * bytes));
  for (int64_t h = 0; h < hidden; ++h)
    std::memset(writable(w.down) + ((index * hidden + h) * width + begin) * bytes, 0,
                count * static_cast<size_t>(bytes));
}

}  // namespace

WeightsLayout weights_layout(const LayerSpec& layer, const Shard& shard) {
  WeightsLayout l{.experts = layer.routing.experts,
                  .indices = layer.routing.experts + shard.slots,
                  .router_rows = layer.routing.experts + layer.gate_rows(),
                  .hidden = layer.hidden,
                  .intermediate = shard.intermediate,
                  .element_bytes = element_bytes(layer.dtype)};
  const double total = 3.0 * static_cast<double>(l.indices) * static_cast<double>(l.hidden) *
                       static_cast<double>(l.intermediate) * static_cast<double>(l.element_bytes);
  if (total > 0x1p55)
    throw Error(ErrorKind::environment,
                fmt::format("the weights of this layer take {:.3g} bytes", total));
  l.router_bytes = l.router_rows * l.hidden * element_bytes(router_dtype(layer));
  l.bias_bytes = layer.routing.selection_bias ? l.experts * 4 : 0;
  if (layer.dtype == DType::fp8_block128) {
    l.hidden_blocks = scale_blocks(layer.hidden);
    l.intermediate_blocks = scale_blocks(shard.intermediate);
  }
  return l;
}

std::shared_ptr<WeightsStorage> allocate_weights(const WeightsLayout& l, int64_t indices,
                                                 int sets) {
  auto storage = std::make_shared<WeightsStorage>();
  storage->router = HostBuffer(l.router_bytes * sets);
  storage->selection_bias = HostBuffer(l.bias_bytes * sets);
  storage->gate_up = HostBuffer(indices * l.gate_up_elements() * l.element_bytes);
  storage->down = HostBuffer(indices * l.down_elements() * l.element_bytes);
  storage->gate_up_scale = HostBuffer(indices * l.gate_up_scales() * 4);
  storage->down_scale = HostBuffer(indices * l.down_scales() * 4);
  return storage;
}

LayerWeights view_weights(const LayerSpec& layer, const Shard& shard,
                          std::shared_ptr<WeightsStorage> storage, int64_t first_index, int set) {
  const WeightsLayout l = weights_layout(layer, shard);
  const auto floats = [](const HostBuffer& buffer, int64_t offset) {
    return buffer.data() ? reinterpret_cast<const float*>(buffer.data()) + offset : nullptr;
  };
  LayerWeights w;
  w.layer = layer;
  w.shard = shard;
  w.router = storage->router.data() + l.router_bytes * set;
  w.selection_bias = floats(storage->selection_bias, l.bias_bytes / 4 * set);
  w.gate_up = storage->gate_up.data() + first_index * l.gate_up_elements() * l.element_bytes;
  w.down = storage->down.data() + first_index * l.down_elements() * l.element_bytes;
  w.gate_up_scale = floats(storage->gate_up_scale, first_index * l.gate_up_scales());
  w.down_scale = floats(storage->down_scale, first_index * l.down_scales());
  w.owner = std::move(storage);
  return w;
}

std::pair<int, int> owned_rows(const Shard& shard, int experts, int index) {
  const AxisRange& range = index < experts ? shard.routed : shard.shared;
  const int slot_begin = index < experts ? 0 : (index - experts) * shard.intermediate;
  const auto local = [&](int logical) {
    return std::clamp(logical - range.stored_begin - slot_begin, 0, shard.intermediate);
  };
  return {local(range.begin), local(range.end)};
}

void reset_experts(LayerWeights& w) {
  const WeightsLayout l = weights_layout(w.layer, w.shard);
  const auto bytes = [&](int64_t per_index) {
    return static_cast<size_t>(l.indices * per_index * l.element_bytes);
  };
  poison({writable(w.gate_up), bytes(l.gate_up_elements())});
  poison({writable(w.down), bytes(l.down_elements())});
  std::fill_n(writable(w.gate_up_scale), l.indices * l.gate_up_scales(), 1.0f);
  std::fill_n(writable(w.down_scale), l.indices * l.down_scales(), 1.0f);
}

void check_complete(const LayerWeights& w, int64_t written) {
  const WeightsLayout l = weights_layout(w.layer, w.shard);
  check(written == l.indices * (l.gate_up_elements() + l.down_elements()),
        "every packed element is written once");
}

int64_t zero_padding(LayerWeights& w) {
  const int experts = w.layer.routing.experts;
  const int width = w.shard.intermediate;
  int64_t rows = 0;
  for (int index = 0; index < experts + w.shard.slots; ++index) {
    const auto [begin, end] = owned_rows(w.shard, experts, index);
    zero_rows(w, index, 0, begin);
    zero_rows(w, index, end, width);
    rows += width - (end - begin);
  }
  return 3 * rows * w.layer.hidden;
}

int64_t pack(const ExpertMatrix& m, Projection p, int expert, LayerWeights& w) {
  const int64_t bytes = element_bytes(w.layer.dtype);
  std::byte* packed = writable(p == Projection::down ? w.down : w.gate_up);
  if (!m.scales.empty()) {
    float* scales = writable(p == Projection::down ? w.down_scale : w.gate_up_scale);
    for_each_scale(w, p, expert, [&](int64_t to, int64_t from) {
      scales[to] = m.scales[static_cast<size_t>(from)];
    });
  }
  return for_each_piece(w, p, expert, [&](int64_t to, int64_t from, int64_t count) {
    std::memcpy(packed + to * bytes, m.elements.data() + from * bytes,
                static_cast<size_t>(count * bytes));
  });
}

ExpertMatrix unpack(const LayerWeights& w, Projection p, int expert) {
  check(w.shard.tp == 1, "only an unsharded layer holds whole matrices");
  const int width = whole_width(w, expert);
  const bool down = p == Projection::down;
  ExpertMatrix m{down ? w.layer.hidden : width, down ? width : w.layer.hidden, {}, {}};
  const int64_t bytes = element_bytes(w.layer.dtype);
  m.elements.resize(static_cast<size_t>(int64_t{m.rows} * m.cols * bytes));
  const std::byte* packed = down ? w.down : w.gate_up;
  for_each_piece(w, p, expert, [&](int64_t from, int64_t to, int64_t count) {
    std::memcpy(m.elements.data() + to * bytes, packed + from * bytes,
                static_cast<size_t>(count * bytes));
  });
  if (w.layer.dtype != DType::fp8_block128) return m;
  const float* scales = down ? w.down_scale : w.gate_up_scale;
  m.scales.resize(static_cast<size_t>(scale_blocks(m.rows) * scale_blocks(m.cols)));
  for_each_scale(w, p, expert, [&](int64_t from, int64_t to) {
    m.scales[static_cast<size_t>(to)] = scales[from];
  });
  return m;
}

}  // namespace fse
