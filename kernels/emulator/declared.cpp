#include "kernels/emulator/declared.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "core/weights_layout.h"
#include "kernels/device/tiles.h"

namespace fse {

namespace {

int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

// One op's weights, as one reading for every unit of tokens has it.
struct Reading {
  const char* weights;        // the buffer
  int64_t bytes, most_bytes;  // of one reading, without scales; in pieces of 16 bytes
  double units;               // how often each is read, in the mean
  double flops;               // as declared
  double multiplied;          // with the padding of tiles; 0: not on the matrix unit
};

struct Shape {
  const char* weights;
  int64_t rows, depth, element_bytes;  // of the weights of one unit
  int64_t used = 0;                    // of depth; 0: all of it
  int slots = 1;                       // depths, one behind the other
};

Shape shape_of(const LayerPlan& p, const Step& part) {
  const int64_t hidden = p.layer.hidden, width = p.shard.intermediate;
  const WeightsLayout l = weights_layout(p.layer, p.shard);
  switch (part.op) {
    case Op::gate_gemm:
      return {"router", part.row_end - part.row_begin, hidden,
              element_bytes(router_dtype(p.layer))};
    case Op::grouped_stage1:
      return {"gate_up", 2 * width, hidden, l.element_bytes};
    case Op::grouped_stage2:
      return {"down", hidden, width, l.element_bytes};
    case Op::mlp_stage1:
      return {"gate_up", 2 * p.shard.shared.stored(), hidden, l.element_bytes};
    default:
      return {"down", hidden, width, l.element_bytes, p.shard.shared.stored(), p.shard.slots};
  }
}

// Tokens of every unit: of an expert's rows, or of all tokens.
std::vector<int64_t> units_of(const WeightPass& pass, const LayerPlan& p, Op op, const Load& load) {
  std::vector<int64_t> units;
  const auto cut = [&](int64_t rows) {
    for (; rows > 0; rows -= pass.tokens) units.push_back(std::min<int64_t>(rows, pass.tokens));
  };
  if (op != Op::grouped_stage1 && op != Op::grouped_stage2) {
    cut(p.tokens);
    return units;
  }
  for (const int64_t rows : load.rows_per_expert)
    if (pass.dense && rows > 0)
      units.push_back(p.tokens);
    else
      cut(rows);
  return units;
}

Reading reading_of(const LayerPlan& p, const Step& part, const WeightPass& pass, int wave,
                   const Load& load) {
  const Shape s = shape_of(p, part);
  const std::vector<int64_t> units = units_of(pass, p, part.op, load);
  const bool grouped = part.op == Op::grouped_stage1 || part.op == Op::grouped_stage2;
  const int64_t readers = grouped ? load.active() : 1;
  const int64_t row_bytes = (s.used ? s.used : s.depth) * s.element_bytes;
  Reading r{.weights = s.weights,
            .bytes = readers * s.rows * row_bytes,
            .most_bytes = readers * s.rows * round_up(row_bytes, 16),
            .units = static_cast<double>(units.size()) /
                     static_cast<double>(std::max<int64_t>(readers, 1)),
            .flops = op_def(part.op).flops(p, part, load),
            .multiplied = 0};
  if (pass.rows == 0) return r;
  // An instruction has 16 rows of weights and 8 or 16 tokens.
  const int columns = pass.columns ? pass.columns : wave == 32 ? 8 : 16;
  const auto rows =
      static_cast<double>(round_up(s.rows, pass.rows) / pass.rows * std::max(pass.rows, 16));
  const auto k = static_cast<double>(
      s.slots * round_up(s.depth * s.element_bytes, int64_t{pass.depth} * gpu::kSliceBytes) /
      s.element_bytes);
  for (const int64_t tokens : units)
    r.multiplied += 2 * static_cast<double>(round_up(tokens, columns)) * rows * k;
  return r;
}

double loaded(const KernelCounters& c, const std::string& name) {
  for (const BufferTraffic& b : c.buffers)
    if (b.name == name) return static_cast<double>(b.loaded_bytes);
  return 0;
}

std::string why_not_read(const KernelCounters& c, const std::string& step, const Reading& r) {
  const double read = loaded(c, r.weights), by_design = static_cast<double>(r.bytes) * r.units;
  if (read > 1.001 * static_cast<double>(r.most_bytes) * r.units || read < 0.999 * by_design)
    return fmt::format("{} reads its weights {:.2f} times, by design {:.2f}: {:.0f} bytes of {}",
                       step, read / static_cast<double>(r.bytes), r.units, read, r.weights);
  // A scale of 128 columns is read by each tile of rows that it covers; without tiles, by each
  // lane.
  const double scales = loaded(c, r.weights + std::string("_scale"));
  if (scales > by_design * (r.multiplied > 0 ? 1.0 / 16 : 4.0))
    return fmt::format("{} reads {:.0f} bytes of scales for {:.0f} of {}", step, scales, by_design,
                       r.weights);
  return "";
}

// How often an op without weights reads its activations at most, by design.
double most_reads(const LayerPlan& p, Op op, int blocks) {
  switch (op) {
    case Op::topk:
    case Op::select:  // a candidate's rank is counted among all
      return 4 + p.layer.routing.experts;
    case Op::score:  // the largest, the sum, the shares
      return 3;
    case Op::dispatch:  // counted, then placed; by every block
      return 2 * blocks;
    default:
      return 2;
  }
}

// Bytes of some of the plan's buffers: as declared, and as the launch loaded or stored them.
struct Moved {
  double declared = 0, counted = 0;
};
Moved moved(const KernelCounters& c, const LayerPlan& plan, const std::vector<Buf>& some,
            int64_t BufferTraffic::*bytes) {
  Moved m;
  for (const Buf id : some) {
    m.declared += static_cast<double>(plan.find(id)->bytes());
    for (const BufferTraffic& b : c.buffers)
      if (b.name == to_name(id)) m.counted += static_cast<double>(b.*bytes);
  }
  return m;
}

std::string why_not_moved(const KernelCounters& c, const LayerPlan& plan, const Step& step,
                          const Choice& choice, const DeviceInfo& device) {
  if (choice.kernel->cooperative) return "";  // blocks pass results on, and keep copies
  const Moved stored = moved(c, plan, step.writes, &BufferTraffic::stored_bytes);
  if (stored.counted > stored.declared)
    return fmt::format("{} stores {:.0f} bytes, {:.0f} declared", step.name, stored.counted,
                       stored.declared);
  if (choice.kernel->pass) return "";  // tokens are read again for every tile of rows
  const int blocks = choice.kernel->launch(choice.tile, plan, step, device).blocks;
  const Moved loaded = moved(c, plan, step.reads, &BufferTraffic::loaded_bytes);
  if (loaded.counted > most_reads(plan, step.op, blocks) * loaded.declared)
    return fmt::format("{} loads {:.0f} bytes, {:.0f} declared, {:.0f} times by design", step.name,
                       loaded.counted, loaded.declared, most_reads(plan, step.op, blocks));
  return "";
}

}  // namespace

std::string why_not_as_declared(const KernelCounters& c, const LayerPlan& plan, const Step& step,
                                const Choice& choice, const DeviceInfo& device, const Load& load) {
  double flops = 0, multiplied = 0;
  std::vector<std::string> of_parts;
  const std::vector<Step> all = step.op == Op::layer ? staged_steps(plan) : std::vector{step};
  for (const Step& part : all) {
    const bool has_weights = part.op == Op::gate_gemm || part.op == Op::grouped_stage1 ||
                             part.op == Op::grouped_stage2 || part.op == Op::mlp_stage1 ||
                             part.op == Op::mlp_stage2;
    if (!has_weights) continue;
    const WeightPass pass = choice.kernel->pass(choice.tile, part.op, plan);
    const Reading r = reading_of(plan, part, pass, device.wave, load);
    if (const std::string why = why_not_read(c, part.name, r); !why.empty()) return why;
    of_parts.emplace_back(r.weights);
    multiplied += r.multiplied;
    if (pass.rows > 0) flops += r.flops;
  }
  for (const char* name : {"router", "gate_up", "down"})
    if (std::find(of_parts.begin(), of_parts.end(), name) == of_parts.end() && loaded(c, name) > 0)
      return fmt::format("{} reads {:.0f} bytes of {}, which its op does not need", step.name,
                         loaded(c, name), name);
  if (c.matrix_flops < 0.999 * flops)
    return fmt::format("{} does {:.0f} matrix flops, {:.0f} declared", step.name, c.matrix_flops,
                       flops);
  if (c.matrix_flops > 1.001 * multiplied)
    return fmt::format("{} does {:.0f} matrix flops, {:.0f} declared, {:.0f} with padding",
                       step.name, c.matrix_flops, flops, multiplied);
  return why_not_moved(c, plan, step, choice, device);
}

}  // namespace fse
