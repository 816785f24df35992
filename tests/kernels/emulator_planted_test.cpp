#include <doctest/doctest.h>

#include "core/outcome.h"
#include "core/workload.h"
#include "kernels/emulator/backend.h"
#include "kernels/emulator/session.h"
#include "tests/kernels/mutated_headers.h"

using namespace fse;
using namespace fse::test;

namespace {

// A small layer on one emulated device, with the headers of a folder.
struct Device {
  DeviceInfo info;
  LayerPlan plan;
  std::vector<Choice> choices;
  std::unique_ptr<EmulatorSession> session;

  Device(const std::string& arch, const std::filesystem::path& headers)
      : info(emulated_device(arch)) {
    LayerSpec layer;
    layer.hidden = 64;
    layer.intermediate = 64;
    layer.routing = {.experts = 8, .top_k = 2, .renormalize = true};
    layer.dtype = DType::bf16;
    const Shard shard = make_shard(layer, 1, 0);
    plan = make_plan(layer, shard, {.topk = Topk::fused, .shared = Shared::none}, 20, info);
    choices = default_choices(plan, info);
    const BackendConfig config{.device_dir = headers, .cache_dir = FSELAB_TEST_CACHE};
    session = std::make_unique<EmulatorSession>(std::make_shared<HostInstances>(config, arch),
                                                std::make_shared<LaunchMemo>(), info, 2, plan,
                                                random_weights(layer, shard, 1));
    session->set_input(random_input(20, 64, 1));
  }
  int step(Op op) const {
    for (size_t i = 0; i < plan.steps.size(); ++i)
      if (plan.steps[i].op == op) return static_cast<int>(i);
    throw std::logic_error("no such step");
  }
  void run(Op op) { session->run_step(step(op), choices[static_cast<size_t>(step(op))], 0); }
};

// What the changed kernel says, on the inputs that the right ones made: its error, "wrong result",
// or "" where nobody noticed.
std::string found(const std::string& arch, Op op, const MutatedHeaders& headers) {
  Device right(arch, device_headers()), changed(arch, headers.folder());
  right.session->run(right.choices, 0);
  for (const Buffer& b : right.plan.buffers)
    changed.session->write(b.id, right.session->read(b.id));
  try {
    changed.run(op);
  } catch (const AttemptError& error) {
    CHECK(error.status == Status::wrong);
    return error.what();
  }
  for (const Buf id : right.plan.steps[static_cast<size_t>(right.step(op))].writes)
    if (changed.session->read(id) != right.session->read(id)) return "wrong result";
  return "";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

// Kernels take turns in another order with every launch; what is found does not depend on it.
TEST_CASE("planted in the real headers: a removed barrier is a race, or reads what is not there" *
          doctest::test_suite("long")) {
  for (const char* arch : {"gfx942", "sm_90"}) {
    CAPTURE(arch);
    const MutatedHeaders headers(
        {"stream.h", "    sync();\n    if (live) reduce(step);", "    if (live) reduce(step);"});
    const std::string error = found(arch, Op::grouped_stage1, headers);
    CAPTURE(error);
    CHECK(error.find("fse::gpu::stream<") == 0);
    CHECK(has(error, ", block "));
    CHECK(has(error, ", thread "));
    CHECK((has(error, "and no barrier is between") || has(error, "which nobody has written")));
    CHECK((has(error, headers.line("stream.h", "value += p[w * T.width * kPitch]")) ||
           has(error, headers.line("stream.h", "mine[column * kPitch + result_row(i)] = sums"))));
  }
}

TEST_CASE("planted in the real headers: a race of lanes that count together" *
          doctest::test_suite("long")) {
  const MutatedHeaders headers(
      {"dispatch.h", "if (id >= 0 && (peers & lanes_below()) == 0) mine[id] += popcount(peers);",
       "if (id >= 0) mine[id] += 1;  // each for itself"});
  const std::string error = found("gfx942", Op::dispatch, headers);
  CAPTURE(error);
  CHECK(error.find("fse::gpu::dispatch<") == 0);
  CHECK(has(error, "race: "));
  CHECK(has(error, "of LDS at " + headers.line("dispatch.h", "each for itself")));
}

TEST_CASE("planted in the real headers: a store one behind the last" *
          doctest::test_suite("long")) {
  const MutatedHeaders headers(
      {"dispatch.h", "a.expert_offsets[experts] = row;", "a.expert_offsets[experts + 1] = row;"});
  const std::string error = found("gfx950", Op::dispatch, headers);
  CAPTURE(error);
  CHECK(has(error, "stores 4 bytes outside every buffer, at " +
                       headers.line("dispatch.h", "[experts + 1]") +
                       ": byte 36 of the 36 bytes of expert_offsets"));
}

TEST_CASE("planted in the real headers: a wrong lane in a shuffle" * doctest::test_suite("long")) {
  const std::string text = "lane_index() - m < 0 ? 0 : lane_index() - m FSE_PASS_ON";
  const MutatedHeaders another({"numbers.h", text, "lane_index() < m ? 0 : m FSE_PASS_ON"});
  CHECK(found("gfx942", Op::dispatch, another) == "wrong result");
  const MutatedHeaders none({"numbers.h", text, "lane_index() - m FSE_PASS_ON"});
  const std::string error = found("sm_90", Op::dispatch, none);
  CAPTURE(error);
  CHECK(has(error, "shfl from lane -1 of 32 at dispatch.h:"));
}

TEST_CASE("planted in the real headers: a wrong index of a fragment" *
          doctest::test_suite("long")) {
  const MutatedHeaders of_wave_64(
      {"mma_tile.h", "4 * (lane_index() >> 4) + i;", "4 * (lane_index() >> 4) + (i ^ 1);"});
  for (const char* arch : {"gfx90a", "gfx942", "gfx950"})
    CHECK(found(arch, Op::grouped_stage2, of_wave_64) == "wrong result");
  const MutatedHeaders of_wave_32(
      {"mma_tile.h", "(lane_index() >> 2) + 8 * (i >> 1)", "(lane_index() >> 2) + 8 * (i & 1)"});
  // Two results of a lane go to one place, none to another.
  CHECK(has(found("sm_90", Op::grouped_stage2, of_wave_32), "which nobody has written"));
}

TEST_CASE("planted in the real headers: more LDS than the launch was given" *
          doctest::test_suite("long")) {
  const MutatedHeaders headers({"tiles.h",
                                "l.partials = l.scales + t.warps * t.ring * kScaleBytes;",
                                "l.partials = l.scales + t.warps * t.ring * kScaleBytes + 65536;"});
  const std::string error = found("gfx942", Op::grouped_stage2, headers);
  CAPTURE(error);
  CHECK(error.find("fse::gpu::stream<") == 0);
  CHECK((has(error, " bytes of LDS, at ") || has(error, "outside every buffer, at ")));
}

TEST_CASE("planted in the real headers: a copy that nobody waits for" *
          doctest::test_suite("long")) {
  for (const char* arch : {"gfx942", "sm_90"}) {
    CAPTURE(arch);
    const MutatedHeaders headers({"stream_slices.h", "    async_wait<T.ring - 2>();\n", ""});
    const std::string error = found(arch, Op::grouped_stage1, headers);
    CAPTURE(error);
    CHECK(error.find("fse::gpu::stream<") == 0);
    CHECK(has(error, "where a copy of thread "));
    CHECK(has(error, " was not waited for"));
    CHECK(has(error, "stream_slices.h:"));
  }
}
