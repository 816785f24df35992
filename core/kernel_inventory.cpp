#include "core/kernel_inventory.h"

#include <algorithm>
#include <charconv>

#include "core/kernel_cost.h"
#include "core/plan.h"
#include "core/serving_model.h"

namespace fse {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(trimmed(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return parts;
}

std::optional<double> positive_number(std::string_view text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !(value > 0 && value < 1e9)) return std::nullopt;
  return value;
}

double value_of(Dim dim, const ServingCase& c) {
  const ModelShape& s = c.shape;
  const double tp = c.tp;
  switch (dim) {
    case Dim::hidden:
      return s.hidden;
    case Dim::experts:
      return c.layer.routing.experts;
    case Dim::gate_rows:
      return c.layer.gate_rows();
    case Dim::shared_width:
      return measured_shard(c.layer, c.tp).shared.stored();
    case Dim::dense_width:
      return s.dense_width / tp;
    case Dim::vocab:
      return s.vocab / tp;
    case Dim::heads:
      return s.heads / tp;
    case Dim::query_width:
      return s.heads / tp * s.head_dim * (s.gated_output ? 2 : 1);
    case Dim::out_width:
      return s.heads / tp * s.head_dim;
    case Dim::kv_width:  // a rank has at least one head of them
      return 2.0 * std::max(1, s.kv_heads / c.tp) * s.head_dim;
    case Dim::linear_in:
      return s.linear_in / tp;
    case Dim::linear_out:
      return s.linear_out / tp;
    case Dim::query_rank:
      return s.latent.query_rank;
    case Dim::kv_rank:
      return s.latent.kv_rank;
    case Dim::nope_dim:
      return s.latent.nope_dim;
    case Dim::rope_dim:
      return s.latent.rope_dim;
    case Dim::value_dim:
      return s.latent.value_dim;
  }
  return 0;
}

template <class T>
bool among(const std::vector<T>& wanted, T value) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), value) != wanted.end();
}
bool matches(const std::optional<bool>& wanted, bool is) {
  return !wanted || *wanted == is;
}

bool launched(const KernelCondition& when, const ServingCase& c) {
  return among(when.gate, c.variant.gate) && among(when.topk, c.variant.topk) &&
         among(when.shared, c.variant.shared) &&
         matches(when.shared_gate, c.layer.gate_rows() > 0) &&
         matches(when.query_rank, c.shape.latent.query_rank > 0) && matches(when.ranks, c.tp > 1);
}

// A tuned row of the very shape, as far as the batch differs from what it was tuned with; else the
// library's best tile.
double experts_us(const ServingCase& c, const DeviceModel& d, int tokens) {
  const Shard shard = measured_shard(c.layer, c.tp);
  const int slots = c.variant.shared == Shared::slot ? shard.slots : 0;
  if (const auto us = tuned_us(c.tuned, c.layer, shard, d, c.prior, slots, tokens)) return *us;
  return grouped_us(c.layer, shard, d, c.prior, slots, tokens, library_tiles(c.scales));
}

double kernel_us(const InventoryKernel& kernel, const ServingCase& c, const DeviceModel& d,
                 int tokens) {
  switch (kernel.work) {
    case KernelWork::gemm: {
      const bool stored = kernel.layer_weights;
      const double each = stored ? static_cast<double>(element_bytes(c.layer.dtype)) : 2;
      return gemm_us(d, tokens, value_of(kernel.n, c), value_of(kernel.k, c), each,
                     stored ? peak_tflops(c.layer, d) : d.bf16_tflops);
    }
    case KernelWork::elementwise:
      return elementwise_us(d, tokens, value_of(kernel.width, c));
    case KernelWork::experts:
      return experts_us(c, d, tokens);
    case KernelWork::all_reduce:
      return all_reduce_us(d, c.tp, 2 * tokens * value_of(kernel.width, c));
  }
  return 0;
}

}  // namespace

std::optional<Width> parse_width(std::string_view text) {
  Width width;
  for (const std::string_view sum : split(text, '+')) {
    Width::Term term;
    for (const std::string_view factor : split(sum, '*')) {
      if (const auto number = positive_number(factor))
        term.factor *= *number;
      else if (const auto dim = from_name<Dim>(factor))
        term.dims.push_back(*dim);
      else
        return std::nullopt;
    }
    width.terms.push_back(std::move(term));
  }
  return width;
}

double value_of(const Width& width, const ServingCase& c) {
  double sum = 0;
  for (const Width::Term& term : width.terms) {
    double product = term.factor;
    for (const Dim dim : term.dims) product *= value_of(dim, c);
    sum += product;
  }
  return sum;
}

std::vector<KernelTime> kernel_times(const std::vector<InventoryKernel>& kernels,
                                     const ServingCase& c, const DeviceModel& d, int tokens) {
  const bool overlaps = c.variant.shared == Shared::mlp_overlapped;
  std::vector<KernelTime> times;
  double main_us = 0, side_us = 0;
  // Both branches slow each other while they overlap; the longer one decides. One event forks the
  // side stream, one joins it.
  const auto join = [&] {
    if (side_us == 0) return;
    const double slower = std::min(main_us, side_us) * d.interference;
    times.push_back({"overlapped", std::max(0.0, side_us - main_us) + slower + 2 * d.event_us});
    side_us = 0;
  };
  for (const InventoryKernel& kernel : kernels) {
    if (!launched(kernel.when, c)) continue;
    const double us = kernel_us(kernel, c, d, tokens);
    if (overlaps && kernel.side) {
      side_us += us;
      continue;
    }
    join();
    main_us += us;
    times.push_back({kernel.name, us});
  }
  join();
  return times;
}

}  // namespace fse
