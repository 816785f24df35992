#pragma once
#include <cmath>
#include <memory>
#include <string>

#include "core/workload.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_session.h"

namespace fse::test {

struct Shape {
  int hidden, intermediate, experts, top_k, shared_width;
};

inline LayerSpec layer_of(const Shape& s, DType dtype) {
  LayerSpec layer;
  layer.model = "test";
  layer.hidden = s.hidden;
  layer.intermediate = s.intermediate;
  layer.routing.experts = s.experts;
  layer.routing.top_k = s.top_k;
  layer.routing.renormalize = true;
  layer.routing.scaling = 2.5;
  layer.shared = {.count = s.shared_width > 0,
                  .shared_width = s.shared_width,
                  .weight = SharedWeight::sigmoid_gate};
  layer.dtype = dtype;
  return layer;
}

inline Matrix to_matrix(const std::vector<float>& values, int rows) {
  return fse::to_matrix(values, rows, static_cast<int64_t>(values.size()) / rows);
}

// ||got - want|| / ||want||, infinite where anything is not finite.
inline double relative_error(const Matrix& got, const Matrix& want) {
  if (!got.allFinite() || got.size() != want.size()) return INFINITY;
  const double norm = want.norm();
  return (got - want).norm() / (norm > 0 ? norm : 1);
}

// A layer on the cpu with its reference: every buffer as a perfect layer would leave it. One thread
// unless told otherwise: on a busy machine, thousands of short steps wait for the last thread long.
struct CpuLayer {
  std::unique_ptr<Backend> backend = open_backend("cpu");
  DeviceInfo device;
  LayerPlan plan;
  LayerWeights weights;
  std::unique_ptr<Session> session;
  RefState reference;

  CpuLayer(const LayerSpec& layer, const Variant& variant, int tokens, int threads = 1,
           bool evaluate = true)
      : CpuLayer(random_weights(layer, make_shard(layer, 1, 0), 7).front(), variant,
                 random_input(tokens, layer.hidden, 7), threads, evaluate) {}

  // These weights, of whichever shard, and this input.
  CpuLayer(const LayerWeights& given, const Variant& variant, const std::vector<float>& x,
           int threads = 1, bool evaluate = true)
      : device(backend->device()), weights(given) {
    const auto tokens = static_cast<int>(x.size()) / given.layer.hidden;
    device.compute_units = threads;
    plan = make_plan(weights.layer, weights.shard, variant, tokens, device);
    session = std::make_unique<CpuSession>(plan, std::vector{weights}, device);
    session->set_input(x);
    if (evaluate) reference = run_reference(plan, weights, to_matrix(x, tokens));
  }

  // What a step makes of exact inputs, as its kernel sees them: the reference's, as f32.
  RefState expected(const Step& step) {
    RefState state = reference;
    for (Buf id : step.reads) {
      session->write(id, reference[id]);
      state[id] = session->read(id);
    }
    op_def(step.op).reference(plan, step, weights, state);
    return state;
  }

  // Runs one kernel on exact inputs; "" or what is wrong with its results.
  std::string try_kernel(int index, const Choice& choice) {
    const Step& step = plan.steps[static_cast<size_t>(index)];
    return try_kernel(index, choice, expected(step));
  }
  std::string try_kernel(int index, const Choice& choice, const RefState& want) {
    const Step& step = plan.steps[static_cast<size_t>(index)];
    session->poison_buffers();
    for (Buf id : step.reads) session->write(id, reference[id]);
    session->run_step(index, choice, 0);
    for (Buf id : step.writes) {
      const double bound = op_def(step.op).tolerance(plan, step);
      const double error = relative_error(session->read(id), want[id]);
      const bool is_ids = plan.find(id)->element == Element::i32;
      if (!(error <= (is_ids ? 0 : bound)))
        return step.name + ": " + to_text(choice) + ": " + to_name(id) + " is off by " +
               std::to_string(error);
    }
    return "";
  }
};

}  // namespace fse::test
