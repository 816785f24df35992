#include "core/trace.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/safetensors.h"

namespace fse {
namespace {

const TensorView& ids_of(const Safetensors& trace) {
  const TensorView& ids = trace.at("topk_ids");
  constexpr std::string_view kNumbers[] = {"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8"};
  if (std::find(std::begin(kNumbers), std::end(kNumbers), ids.dtype) == std::end(kNumbers))
    fail_data(fmt::format("{}: topk_ids has dtype {}, expected integers such as I32", ids.file,
                          ids.dtype));
  return ids;
}

std::string shape_fault(const RoutingSpec& r, const TensorView& ids) {
  if (ids.shape.size() == 2 && ids.shape[0] > 0 && ids.shape[1] == r.top_k) return {};
  return fmt::format("{}: topk_ids has shape [{}], expected [rows, top_k = {}]", ids.file,
                     fmt::join(ids.shape, ", "), r.top_k);
}

std::string row_fault(const RoutingSpec& r, const TensorView& ids, int64_t row) {
  const int width = r.experts / r.groups;
  std::vector<int> experts, groups;  // so far; top_k is small, so they are searched one by one
  for (int column = 0; column < r.top_k; ++column) {
    const double id = ids.at(row * r.top_k + column);
    const auto fault = [&](const std::string& expected) {
      return fmt::format("{}: topk_ids row {} column {} is {}, expected {}", ids.file, row, column,
                         id, expected);
    };
    if (!(id >= 0 && id < r.experts) || id != std::floor(id))
      return fault(fmt::format("an expert from 0 to {}", r.experts - 1));
    const int expert = static_cast<int>(id);
    if (std::find(experts.begin(), experts.end(), expert) != experts.end())
      return fault("an expert that its row does not have yet");
    experts.push_back(expert);
    const int group = expert / width;
    if (std::find(groups.begin(), groups.end(), group) != groups.end()) continue;
    groups.push_back(group);
    if (static_cast<int>(groups.size()) > r.groups_kept)
      return fault(fmt::format("one of the {} groups of {} experts that its row has already",
                               r.groups_kept, width));
  }
  return {};
}

}  // namespace

std::string trace_fault(const RoutingSpec& r, const std::filesystem::path& file) {
  const Safetensors trace = Safetensors::open(file);
  const TensorView& ids = ids_of(trace);
  std::string fault = shape_fault(r, ids);
  if (!fault.empty()) return fault;
  for (int64_t row = 0; row < ids.shape[0] && fault.empty(); ++row) fault = row_fault(r, ids, row);
  return fault;
}

// Only the rows that are played are judged again: a sweep judged all of them when it was expanded,
// but the file may have changed since.
Matrix draw_trace(const RoutingSpec& r, const std::filesystem::path& file, int tokens, Rng& rng) {
  const Safetensors trace = Safetensors::open(file);
  const TensorView& ids = ids_of(trace);
  if (const std::string fault = shape_fault(r, ids); !fault.empty()) fail_data(fault);
  const int64_t rows = ids.shape[0];
  const int64_t start = rng.below(rows);
  Matrix routed(tokens, r.top_k);
  for (int t = 0; t < tokens; ++t) {
    const int64_t row = (start + t) % rows;
    if (const std::string fault = row_fault(r, ids, row); !fault.empty()) fail_data(fault);
    for (int j = 0; j < r.top_k; ++j) routed(t, j) = ids.at(row * r.top_k + j);
  }
  return routed;
}

}  // namespace fse
