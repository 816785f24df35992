#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>

#include "core/convert.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/weights_layout.h"

namespace fse {
namespace {

// Counter-based: the n-th word of a stream depends on nothing but its key and n, so the values do
// not depend on how threads share the work.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
  return x ^ (x >> 32);
}

enum class Stream : uint64_t { router = 1, bias, gate_up, down, gate_up_scale, down_scale };

struct Key {
  uint64_t value;
  Key(uint64_t seed, Stream stream, int64_t index)
      : value(mix(mix(seed + 0x9e3779b97f4a7c15u * static_cast<uint64_t>(stream)) +
                  static_cast<uint64_t>(index))) {}
};

// Calls use(first element, words, elements) for blocks of random words; `per_word` elements each.
template <int per_word, class Use>
void for_each_block(Key key, int64_t count, const Use& use) {
  constexpr int kWords = 512;  // stays in the first-level cache
  uint64_t words[kWords];
  for (int64_t first = 0; first < count; first += int64_t{kWords} * per_word) {
    const uint64_t base = key.value + static_cast<uint64_t>(first / per_word);
    for (int i = 0; i < kWords; ++i)
      words[i] = mix(base + static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15u);
    use(first, reinterpret_cast<const std::byte*>(words),
        std::min(count - first, int64_t{kWords} * per_word));
  }
}

// Uniform on [-1, 1) times the square root of 3 has standard deviation 1; 16 bits are enough.
template <class Out, class Store>
void fill_uniform(Key key, double std_dev, int64_t count, Out* out, const Store& store) {
  const auto scale = static_cast<float>(std_dev * std::sqrt(3.0) / 32768);
  for_each_block<4>(key, count, [&](int64_t first, const std::byte* words, int64_t n) {
    int16_t random[4 * 512];
    std::memcpy(random, words, sizeof random);
    for (int64_t i = 0; i < n; ++i) out[first + i] = store(static_cast<float>(random[i]) * scale);
  });
}

// Codes are uniform over all that are not NaN: subnormals and the largest values alike. A NaN code
// becomes its neighbour, +-448.
void fill_codes(Key key, int64_t count, uint8_t* out) {
  for_each_block<8>(key, count, [&](int64_t first, const std::byte* words, int64_t n) {
    const auto* random = reinterpret_cast<const uint8_t*>(words);
    for (int64_t i = 0; i < n; ++i)
      out[first + i] = static_cast<uint8_t>(random[i] - ((random[i] & 0x7f) == 0x7f));
  });
}

void fill_elements(DType dtype, Key key, double std_dev, int64_t count, std::byte* out) {
  auto* halves = reinterpret_cast<uint16_t*>(out);
  switch (dtype) {
    case DType::f32:
      return fill_uniform(key, std_dev, count, reinterpret_cast<float*>(out),
                          [](float v) { return v; });
    case DType::bf16:
      return fill_uniform(key, std_dev, count, halves, [](float v) { return fast_to_bf16(v); });
    case DType::f16:
      return fill_uniform(key, std_dev, count, halves, [](float v) { return fast_to_f16(v); });
    case DType::fp8_block128:
      return fill_codes(key, count, reinterpret_cast<uint8_t*>(out));
  }
}

// Root mean square of the codes fill_codes draws.
double rms_of_codes() {
  double sum = 0;
  for (int code = 0; code < 256; ++code) {
    const int drawn = code - ((code & 0x7f) == 0x7f);
    const double value = from_fp8_e4m3fn(static_cast<uint8_t>(drawn));
    sum += value * value / 256;
  }
  return std::sqrt(sum);
}

// Scales between a half and one and a half of what gives `std_dev`.
void fill_scales(Key key, double std_dev, int64_t count, float* out) {
  const double middle = std_dev / rms_of_codes() / std::sqrt(13.0 / 12);  // E[(0.5 + u)^2]
  for_each_block<1>(key, count, [&](int64_t first, const std::byte* words, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      uint64_t word;
      std::memcpy(&word, words + i * 8, 8);
      out[first + i] =
          static_cast<float>(middle * (0.5 + static_cast<double>(word >> 11) * 0x1p-53));
    }
  });
}

constexpr int kAllCores = INT_MAX;

struct Arena {
  int64_t stride = 0, indices = 0;
};

Arena make_arena(const WeightsLayout& l, int sets, int64_t rotation_bytes) {
  check(sets >= 1, "there is at least one weight set");
  if (sets == 1) return {0, l.indices};
  const int64_t affordable = rotation_bytes / l.expert_bytes() / (sets - 1);
  const int64_t slots = l.indices - l.experts;
  // Slots of two sets never share memory: every token reads them.
  const int64_t stride = std::clamp(affordable, std::max<int64_t>(slots, 1), l.indices);
  return {stride, l.indices + stride * (sets - 1)};
}

void fill_experts(const WeightsLayout& l, const LayerSpec& layer, const Shard& shard, uint64_t seed,
                  const Arena& arena, WeightsStorage& storage) {
  const double gate_up_std = 1 / std::sqrt(layer.hidden);
  const double down_std = 1 / std::sqrt(shard.routed.end - shard.routed.begin);
  parallel_for(arena.indices, kAllCores, [&](int64_t i) {
    const auto floats = [&](HostBuffer& buffer, int64_t count) {
      return reinterpret_cast<float*>(buffer.data()) + i * count;
    };
    fill_elements(layer.dtype, Key(seed, Stream::gate_up, i), gate_up_std, l.gate_up_elements(),
                  storage.gate_up.data() + i * l.gate_up_elements() * l.element_bytes);
    fill_elements(layer.dtype, Key(seed, Stream::down, i), down_std, l.down_elements(),
                  storage.down.data() + i * l.down_elements() * l.element_bytes);
    if (layer.dtype != DType::fp8_block128) return;
    fill_scales(Key(seed, Stream::gate_up_scale, i), gate_up_std, l.gate_up_scales(),
                floats(storage.gate_up_scale, l.gate_up_scales()));
    fill_scales(Key(seed, Stream::down_scale, i), down_std, l.down_scales(),
                floats(storage.down_scale, l.down_scales()));
  });
}

void fill_router(const WeightsLayout& l, const LayerSpec& layer, uint64_t seed, std::byte* router,
                 float* bias) {
  fill_elements(router_dtype(layer), Key(seed, Stream::router, 0), 1 / std::sqrt(layer.hidden),
                l.router_rows * l.hidden, router);
  constexpr double kBiasStd = 0.05 / 1.7320508075688772;  // uniform on +-0.05
  if (l.bias_bytes > 0)
    fill_uniform(Key(seed, Stream::bias, 0), kBiasStd, l.experts, bias, [](float v) { return v; });
}

}  // namespace

std::vector<LayerWeights> random_weights(const LayerSpec& layer, const Shard& shard, uint64_t seed,
                                         int sets, int64_t rotation_bytes) {
  validate(layer);
  const WeightsLayout l = weights_layout(layer, shard);
  const Arena arena = make_arena(l, sets, rotation_bytes);
  const auto storage = allocate_weights(l, arena.indices, sets);
  fill_experts(l, layer, shard, seed, arena, *storage);
  std::vector<LayerWeights> result;
  for (int set = 0; set < sets; ++set) {
    auto* bias = reinterpret_cast<float*>(storage->selection_bias.data() + l.bias_bytes * set);
    fill_router(l, layer, seed, storage->router.data() + l.router_bytes * set, bias);
    result.push_back(view_weights(layer, shard, storage, arena.stride * set, set));
    zero_padding(result.back());
  }
  return result;
}

int64_t random_weights_bytes(const LayerSpec& layer, const Shard& shard, int sets,
                             int64_t rotation_bytes) {
  const WeightsLayout l = weights_layout(layer, shard);
  return make_arena(l, sets, rotation_bytes).indices * l.expert_bytes() +
         sets * (l.router_bytes + l.bias_bytes);
}

}  // namespace fse
