#include "experiments/golden.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "core/error.h"
#include "core/safetensors.h"

namespace fse {
namespace {

Matrix read_part(const Safetensors& golden, const std::filesystem::path& file, const char* name,
                 int64_t rows, int64_t cols) {
  const TensorView& tensor = golden.at(name);
  if (tensor.shape != std::vector<int64_t>{rows, cols})
    fail_data(fmt::format("{}: {}: shape [{}], expected [{}, {}]", file.string(), name,
                          fmt::join(tensor.shape, ", "), rows, cols));
  Matrix values(rows, cols);
  for (Eigen::Index i = 0; i < values.size(); ++i) values.data()[i] = tensor.at(i);
  if (!values.allFinite())  // compare() would take such an element for undefined
    fail_data(
        fmt::format("{}: {}: holds NaN or infinity, expected finite values", file.string(), name));
  return values;
}

void require_ids(const Matrix& ids, int experts, const std::filesystem::path& file) {
  for (Eigen::Index t = 0; t < ids.rows(); ++t)
    for (Eigen::Index j = 0; j < ids.cols(); ++j) {
      const double id = ids(t, j);
      const bool expert = id >= 0 && id < experts && id == std::floor(id);
      if (!expert || (ids.row(t).head(j).array() == id).any())
        fail_data(fmt::format("{}: topk_ids[{},{}] is {}, expected {}", file.string(), t, j, id,
                              expert ? "an expert that its row does not have yet"
                                     : fmt::format("an expert from 0 to {}", experts - 1)));
    }
}

}  // namespace

GoldenAnswer read_golden(const std::filesystem::path& file, const LayerSpec& layer) {
  const Safetensors golden = Safetensors::open(file);
  const TensorView& input = golden.at("input");
  const int64_t hidden = layer.hidden;
  if (input.shape.size() != 2 || input.shape[0] < 1 || input.shape[1] != hidden)
    fail_data(fmt::format("{}: input: expected shape [tokens, hidden = {}]", file.string(),
                          layer.hidden));
  const int64_t tokens = input.shape[0];
  const auto part = [&](const char* name, int64_t cols) {
    return read_part(golden, file, name, tokens, cols);
  };
  GoldenAnswer answer{.input = part("input", hidden),
                      .logits = part("router_logits", layer.routing.experts),
                      .ids = part("topk_ids", layer.routing.top_k),
                      .weights = part("topk_weights", layer.routing.top_k),
                      .routed_out = part("routed_out", hidden),
                      .shared_out = Matrix::Zero(tokens, hidden),
                      .out = part("output", hidden)};
  if (layer.has_shared()) answer.shared_out = part("shared_out", hidden);
  require_ids(answer.ids, layer.routing.experts, file);
  return answer;
}

Accuracy compare_golden(LayerReference& reference, const LayerPlan& plan,
                        const float* selection_bias, const GoldenAnswer& golden) {
  const int experts = plan.layer.routing.experts;
  Accuracy worst = compare(golden.logits, reference.logits().values.leftCols(experts),
                           kGoldenTolerance, "router_logits");
  const RoutingAgreement routing =
      compare_routing(plan, selection_bias, reference.scores(), golden.ids,
                      kGoldenTolerance * reference.largest_logit());
  if (worst.first_bad.empty() && !routing.ok()) worst.first_bad = "golden " + routing.first_bad;
  const RefState state = reference.on(golden.ids);
  const Matrix shared = plan.layer.has_shared() ? state[Buf::shared_out]
                                                : Matrix::Zero(plan.tokens, plan.layer.hidden);
  const auto judge = [&](const Matrix& got, const Matrix& want, const std::string& name) {
    keep_worse(worst, compare(got, want, kGoldenTolerance, name));
  };
  judge(state[Buf::topk_weights], golden.weights, "topk_weights");
  judge(state[Buf::out] - shared, golden.routed_out, "routed_out");
  if (plan.layer.has_shared()) judge(shared, golden.shared_out, "shared_out");
  judge(state[Buf::out], golden.out, "out");
  return worst;
}

}  // namespace fse
