#include "kernels/emulator/counters.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "core/workload.h"
#include "kernels/emulator/backend.h"
#include "kernels/emulator/declared.h"
#include "kernels/emulator/session.h"
#include "tests/kernels/mutated_headers.h"

using namespace fse;
using namespace fse::test;

namespace {

namespace fs = std::filesystem;

LayerSpec layer_of(DType dtype) {
  LayerSpec layer;
  layer.hidden = 256;
  layer.intermediate = 128;
  layer.routing = {.experts = 8, .top_k = 2, .renormalize = true};
  layer.dtype = dtype;
  return layer;
}

// 16 tokens, all to the same two experts: no column of a matrix instruction is padding.
struct Counted {
  DeviceInfo device;
  LayerPlan plan;
  Load load;
  std::unique_ptr<EmulatorSession> session;
  std::vector<Choice> choices;

  Counted(const std::string& arch, DType dtype, const fs::path& headers)
      : device(emulated_device(arch)) {
    const LayerSpec layer = layer_of(dtype);
    const Shard shard = make_shard(layer, 1, 0);
    plan = make_plan(layer, shard, {.topk = Topk::fused, .shared = Shared::none}, 16, device);
    const BackendConfig config{.device_dir = headers, .cache_dir = FSELAB_TEST_CACHE};
    session = std::make_unique<EmulatorSession>(std::make_shared<HostInstances>(config, arch),
                                                std::make_shared<LaunchMemo>(), device, 2, plan,
                                                random_weights(layer, shard, 1));
    choices = default_choices(plan, device);
    for (Choice& choice : choices)  // all tokens in one pass over the weights
      for (auto& [axis, value] : choice.tile.axes)
        if (axis == "width")
          value = 16;
        else if (axis == "ring")
          value = 2;
    session->set_input(std::vector<float>(16 * 256, 0.5f));
    session->run(choices, 0);
    Matrix ids(16, 2);
    for (int t = 0; t < 16; ++t) ids(t, 0) = 1, ids(t, 1) = 6;
    session->write(Buf::topk_ids, ids);
    load = load_of(ids, 8);
    for (size_t i = 0; i < plan.steps.size(); ++i)
      if (plan.steps[i].op == Op::dispatch) session->run_step(static_cast<int>(i), choices[i], 0);
  }
  int step(Op op) const {
    for (size_t i = 0; i < plan.steps.size(); ++i)
      if (plan.steps[i].op == op) return static_cast<int>(i);
    throw std::logic_error("no such step");
  }
  KernelCounters count(Op op) {
    const int at = step(op);
    return session->count_step(at, choices[static_cast<size_t>(at)], 0).value();
  }
  std::string why(Op op) {
    const auto at = static_cast<size_t>(step(op));
    return why_not_as_declared(count(op), plan, plan.steps[at], choices[at], device, load);
  }
};

int64_t loaded(const KernelCounters& c, const std::string& name) {
  for (const BufferTraffic& b : c.buffers)
    if (b.name == name) return b.loaded_bytes;
  return -1;
}

}  // namespace

TEST_CASE("counters: kernels read each active weight once and multiply what their ops declare") {
  for (const std::string& arch : emulated_archs())
    for (const DType dtype : {DType::bf16, DType::fp8_block128}) {
      if (dtype == DType::fp8_block128 && arch == "gfx90a") continue;
      CAPTURE(arch);
      CAPTURE(to_name(dtype));
      Counted counted(arch, dtype, device_headers());
      const KernelCounters c = counted.count(Op::grouped_stage1);
      CAPTURE(to_text(c));
      // 2 experts x gate and up x 128 x 256.
      const int64_t bytes = 2 * 2 * 128 * 256 * element_bytes(dtype);
      CHECK(loaded(c, "gate_up") == bytes);
      for (const BufferTraffic& b : c.buffers) {
        if (b.name == "gate_up") CHECK(b.loaded_lines * kLineBytes == bytes);
        if (b.name == "h") CHECK(b.stored_bytes == 32 * 128 * 2);
        if (b.name == "down") CHECK(b.loaded_bytes == 0);
      }
      CHECK(counted.why(Op::grouped_stage1) == "");
      CHECK(counted.why(Op::grouped_stage2) == "");
      CHECK(c.divergent_accesses < c.wave_accesses);
    }
}

namespace {

// A shared gate, an expert without tokens, a shared expert of two slots of which one is padded.
LayerSpec ragged_layer(DType dtype) {
  LayerSpec layer = layer_of(dtype);
  layer.hidden = 64;  // so that the four units of an emulated device can own all rows of the output
  layer.intermediate = 72;
  layer.shared = {.count = 1, .shared_width = 104, .weight = SharedWeight::sigmoid_gate};
  return layer;
}

// A plan, and the kernels that take its steps and were not seen in another plan.
struct Counting {
  LayerPlan plan;
  const std::vector<LayerWeights>* sets;
  std::vector<std::pair<int, Choice>> wanted;
};

Counting counting_of(LayerPlan plan, const std::vector<LayerWeights>& sets,
                     const DeviceInfo& device, std::set<std::string>& done) {
  Counting counting{std::move(plan), &sets, {}};
  for (size_t i = 0; i < counting.plan.steps.size(); ++i) {
    const Step& step = counting.plan.steps[i];
    for (const KernelDef* def : kernels_for(counting.plan, step, device)) {
      const std::vector<Tile> all = tiles(*def, counting.plan, step, device);
      if (!all.empty() && done.insert(def->name + step_key(counting.plan, step)).second)
        counting.wanted.push_back({static_cast<int>(i), {def, all.front()}});
    }
  }
  return counting;
}

// One translation unit for all of them: the headers are most of the work.
void compile_all(HostInstances& instances, const std::vector<Counting>& all,
                 const DeviceInfo& device) {
  std::vector<JitRequest> requests;
  const auto add = [&](const LayerPlan& plan, int step, const Choice& c) {
    const Step& s = plan.steps[static_cast<size_t>(step)];
    requests.push_back({c.kernel->header, c.kernel->instance(c.tile, plan, s)});
  };
  for (const Counting& c : all) {
    const std::vector<Choice> choices = default_choices(c.plan, device);
    for (size_t i = 0; i < choices.size(); ++i) add(c.plan, static_cast<int>(i), choices[i]);
    for (const auto& [step, choice] : c.wanted) add(c.plan, step, choice);
  }
  instances.prepare(requests);
}

void count_plan(const Counting& counting, const DeviceInfo& device,
                std::shared_ptr<HostInstances> instances) {
  const LayerPlan& plan = counting.plan;
  EmulatorSession session(std::move(instances), std::make_shared<LaunchMemo>(), device, 2, plan,
                          *counting.sets);
  session.set_input(random_input(plan.tokens, plan.layer.hidden, 3));
  session.run(default_choices(plan, device), 0);
  const Load load = load_of(session.read(Buf::topk_ids), plan.expert_count());
  for (const auto& [at, choice] : counting.wanted) {
    const Step& step = plan.steps[static_cast<size_t>(at)];
    const KernelCounters c = session.count_step(at, choice, 0).value();
    CAPTURE(to_name(plan.layer.dtype));
    CAPTURE(to_text(choice));
    CAPTURE(to_text(c));
    CHECK(why_not_as_declared(c, plan, step, choice, device, load) == "");
    CHECK(c.loaded_bytes > 0);
    CHECK(c.stored_bytes > 0);
  }
}

}  // namespace

TEST_CASE("counters: every kernel of every op does what its op declares" *
          doctest::test_suite("long")) {
  std::set<Op> ops;
  for (const std::string& arch : emulated_archs()) {
    CAPTURE(arch);
    const BackendConfig config{.device_dir = device_headers(), .cache_dir = FSELAB_TEST_CACHE};
    const auto instances = std::make_shared<HostInstances>(config, arch);
    const DeviceInfo device = emulated_device(arch);
    std::set<std::string> done;
    std::vector<std::vector<LayerWeights>> weights;
    weights.reserve(device.dtypes.size());
    std::vector<Counting> all;
    for (const DType dtype : device.dtypes) {
      const LayerSpec layer = ragged_layer(dtype);
      const Shard shard = make_shard(layer, 1, 0);
      weights.push_back(random_weights(layer, shard, 1));
      for (const Variant& variant : all_variants()) {
        if (!check(layer, variant, device).empty()) continue;
        for (const int tokens : {5, 19}) {  // the whole layer in one launch has a form for each
          if (tokens == 5 && variant.experts != Experts::fused) continue;
          const LayerPlan plan = make_plan(layer, shard, variant, tokens, device);
          if (!missing_kernel(plan, device).empty()) continue;
          all.push_back(counting_of(plan, weights.back(), device, done));
          if (all.back().wanted.empty()) all.pop_back();
        }
      }
    }
    compile_all(*instances, all, device);
    for (const Counting& counting : all) {
      count_plan(counting, device, instances);
      for (const auto& [step, choice] : counting.wanted) ops.insert(choice.kernel->op);
    }
  }
  CHECK(ops.size() == std::size(kNames<Op>));
}

TEST_CASE("counters: a kernel that reads its weights twice, or multiplies twice, is found") {
  const auto planted = [](const Mutation& mutation) {
    const MutatedHeaders headers(mutation);
    return Counted("gfx942", DType::bf16, headers.folder()).why(Op::grouped_stage1);
  };
  const std::string twice =
      planted({"stream_slices.h", "copy_whole(slice);",
               "(copy_whole(slice), async_commit(), async_wait<0>(), copy_whole(slice));"});
  CHECK(twice.find("grouped_stage1 reads its weights 2.00 times, by design 1.00: ") == 0);
  const std::string again =
      planted({"stream_operands.h", "  multiply<kF16Weights>(d, rows[1], t.v[1]);",
               "  multiply<kF16Weights>(d, rows[1], t.v[1]);\n  float extra[4] = {};\n"
               "  multiply<kF16Weights>(extra, rows[1], t.v[1]);"});
  CHECK(again.find("matrix flops, ") != std::string::npos);
}

TEST_CASE("counters: LDS conflicts are those of the device's banks") {
  std::vector<int> at(64);
  const auto cost = [&](int bytes, bool load, int banks, auto address, size_t lanes = 64) {
    for (size_t lane = 0; lane < 64; ++lane) at[lane] = address(static_cast<int>(lane));
    const LdsCost c =
        lds_cost(std::span(at).first(lanes), ~0ull >> (64 - lanes), bytes, load, banks);
    return std::pair(c.cycles, c.least);
  };
  const auto linear4 = [](int lane) { return 4 * lane; };
  CHECK(cost(4, true, 32, linear4) == std::pair(2, 2));
  CHECK(cost(4, true, 64, linear4) == std::pair(1, 1));
  CHECK(cost(4, true, 32, [](int) { return 12; }) == std::pair(2, 2));  // one word for all
  CHECK(cost(4, true, 32, [](int lane) { return 128 * lane; }) == std::pair(64, 2));
  CHECK(cost(4, true, 64, [](int lane) { return 128 * lane; }) == std::pair(32, 1));
  CHECK(cost(
            4, true, 32, [](int lane) { return 8 * lane; }, 32) == std::pair(2, 1));
  CHECK(cost(16, false, 32, [](int lane) { return 16 * lane; }) == std::pair(8, 8));
  // Rows of 128 bytes, a chunk of a row for each lane of a group of AMD's reads.
  CHECK(cost(16, true, 32, [](int lane) { return 16 * lane; }) == std::pair(8, 8));
  CHECK(cost(16, true, 32, [](int lane) { return 128 * lane; }) == std::pair(64, 8));
}
