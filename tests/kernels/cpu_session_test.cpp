#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "core/error.h"
#include "kernels/cpu/cpu_info.h"
#include "kernels/cpu/cpu_session.h"
#include "kernels/cpu/simd_targets.h"
// After the list of targets, which it reads.
#include "hwy/highway.h"
#include "tests/kernels/cpu_fixture.h"
#include "tests/temporary_folder.h"

using namespace fse;
using fse::test::CpuLayer;
using fse::test::layer_of;

namespace {

Matrix run_with(const CpuLayer& layer, int threads, const std::vector<Choice>& choices) {
  DeviceInfo device = layer.device;
  device.compute_units = threads;
  CpuSession session(layer.plan, {layer.weights}, device);
  session.poison_buffers();
  session.write(Buf::x, layer.reference[Buf::x]);
  session.run(choices, 0);
  return session.read(Buf::out);
}

Matrix run_with(const CpuLayer& layer, int threads) {
  return run_with(layer, threads, default_choices(layer.plan, layer.device));
}

// Whether the tile has such an axis; it then has this value.
bool set_axis(Tile& tile, const std::string& name, int value) {
  for (auto& [axis, current] : tile.axes)
    if (axis == name) return current = value, true;
  return false;
}

}  // namespace

TEST_CASE("results do not depend on the number of threads, overlapped or not") {
  for (DType dtype : {DType::bf16, DType::fp8_block128})
    for (Shared shared : {Shared::mlp, Shared::mlp_overlapped, Shared::slot}) {
      CpuLayer layer(layer_of({320, 192, 16, 4, 384}, dtype), {.shared = shared}, 9, 2);
      const Matrix one = run_with(layer, 1);
      CHECK(one.allFinite());
      for (int threads : {2, 3, 5}) CHECK(run_with(layer, threads) == one);
    }
}

TEST_CASE("every SIMD target of this machine agrees with the reference") {
  for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    CAPTURE(hwy::TargetName(target));
    for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::fp8_block128})
      for (Shared shared : {Shared::slot, Shared::mlp}) {
        CpuLayer layer(layer_of({144, 40, 6, 2, 56}, dtype), {.shared = shared}, 7);
        CHECK(layer.device.arch == hwy::TargetName(target));
        for (int i = 0; i < static_cast<int>(layer.plan.steps.size()); ++i) {
          const Step& step = layer.plan.steps[static_cast<size_t>(i)];
          const RefState want = layer.expected(step);
          for (const KernelDef* kernel : kernels_for(step.op, "cpu"))
            for (const Tile& tile : tiles(*kernel, layer.plan, step, layer.device))
              CHECK(layer.try_kernel(i, {kernel, tile}, want) == "");
        }
      }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST_CASE("all codes of fp8 are widened exactly, subnormals too") {
  CpuLayer layer(layer_of({256, 128, 4, 4, 0}, DType::fp8_block128), {.shared = Shared::none}, 1);
  LayerWeights weights = clone_weights(layer.weights);
  auto* codes = reinterpret_cast<uint8_t*>(const_cast<std::byte*>(weights.gate_up));
  for (int64_t i = 0; i < 4 * 256 * 256; ++i)  // expert e sees codes e * 64 to e * 64 + 63
    codes[i] = static_cast<uint8_t>((i / (256 * 256) * 64 + i % 64) & 0x87);
  layer.weights = weights;
  layer.session = std::make_unique<CpuSession>(layer.plan, std::vector{weights}, layer.device);
  int stage1 = 0;
  while (layer.plan.steps[static_cast<size_t>(stage1)].op != Op::grouped_stage1) ++stage1;
  const Step& step = layer.plan.steps[static_cast<size_t>(stage1)];
  const RefState want = layer.expected(step);
  for (const KernelDef* kernel : kernels_for(Op::grouped_stage1, "cpu"))
    for (const Tile& tile : tiles(*kernel, layer.plan, step, layer.device))
      CHECK(layer.try_kernel(stage1, {kernel, tile}, want) == "");
}

TEST_CASE("sessions run at the same time without touching each other") {
  CpuLayer a(layer_of({320, 192, 16, 4, 192}, DType::bf16), {.shared = Shared::mlp_overlapped}, 5,
             2);
  CpuLayer b(layer_of({80, 24, 10, 4, 48}, DType::f32), {.shared = Shared::slot}, 33, 2);
  const auto repeat = [](CpuLayer& layer, Matrix& out) {
    for (int i = 0; i < 20; ++i) layer.session->run(default_choices(layer.plan, layer.device), 0);
    out = layer.session->read(Buf::out);
  };
  Matrix out_a, out_b;
  std::thread other([&] { repeat(a, out_a); });
  repeat(b, out_b);
  other.join();
  CHECK(test::relative_error(out_a, a.reference[Buf::out]) <= layer_tolerance(a.plan));
  CHECK(test::relative_error(out_b, b.reference[Buf::out]) <= layer_tolerance(b.plan));
}

TEST_CASE("a tile that is no point of the kernel's axes is refused before any thread starts") {
  CpuLayer layer(layer_of({80, 24, 10, 4, 48}, DType::f32), {.shared = Shared::slot}, 1);
  std::vector<Choice> choices = default_choices(layer.plan, layer.device);
  choices[0].tile = tile_from_text("warps=8");
  CHECK_THROWS_WITH_AS(layer.session->run(choices, 0), doctest::Contains("warps=8"), Error);
  choices[0].tile = tile_from_text("rows=4 block=128 prefetch=1 shift=1 dynamic=0 threads=0");
  CHECK_THROWS_WITH_AS(layer.session->run(choices, 0), doctest::Contains("only fp8_block128"),
                       Error);
  choices[0].tile = tile_from_text("rows=3 block=128 prefetch=1 shift=0 dynamic=0 threads=0");
  CHECK_THROWS_AS(layer.session->run(choices, 0), Error);
}

TEST_CASE("part of the threads does all of a step, and all of them are spelled 0") {
  CpuLayer layer(layer_of({320, 192, 60, 4, 384}, DType::bf16), {.shared = Shared::mlp}, 9, 5);
  const Matrix whole = run_with(layer, 5);
  std::vector<Choice> choices = default_choices(layer.plan, layer.device);
  int parts = 0;
  for (size_t i = 0; i < choices.size(); ++i)
    for (int threads : {2, 4, 8}) {
      Choice part = choices[i];
      if (!set_axis(part.tile, "threads", threads)) continue;
      const bool fits =
          part.kernel->fits(part.tile, layer.plan, layer.plan.steps[i], layer.device) == "";
      CHECK(fits == (threads < 5));
      if (!fits) continue;
      ++parts;
      std::vector<Choice> some = choices;
      some[i] = part;
      CHECK(run_with(layer, 5, some) == whole);
    }
  CHECK(parts >= 10);
}

TEST_CASE("tiles of one thread are for small gates, and claim nothing") {
  const CpuLayer layer(layer_of({80, 24, 60, 4, 48}, DType::f32), {}, 4);
  const KernelDef& gate = *kernels_for(Op::gate_gemm, "cpu").front();
  Tile tile = tile_from_text("rows=1 block=128 prefetch=1 shift=0 dynamic=1 threads=1");
  CHECK(gate.legal(tile).starts_with("dynamic=1"));
  tile = tile_from_text("rows=1 block=128 prefetch=1 shift=0 dynamic=0 threads=1");
  CHECK(gate.legal(tile).empty());
  for (const Step& step : layer.plan.steps)
    if (step.op == Op::gate_gemm)
      CHECK(gate.fits(tile, layer.plan, step, layer.device).empty() ==
            (step.name == "shared_gate"));
}

TEST_CASE("an untuned step runs what suits its tokens, and the tuner tries that first") {
  const LayerSpec spec = layer_of({80, 24, 60, 4, 48}, DType::f32);
  for (int tokens : {4, 1000}) {
    const CpuLayer layer(spec, {}, tokens, 1, false);
    const auto choices = default_choices(layer.plan, layer.device);
    for (size_t i = 0; i < choices.size(); ++i) {
      const Step& step = layer.plan.steps[i];
      CHECK(choices[i].kernel == kernels_for(layer.plan, step, layer.device).front());
      if (step.op == Op::grouped_stage1)
        CHECK(choices[i].kernel->name ==
              (tokens == 4 ? "cpu.grouped_stage1.stream" : "cpu.grouped_stage1.block"));
    }
  }
}

TEST_CASE("phases share threads between the streams and keep every step") {
  CpuLayer layer(layer_of({80, 24, 60, 4, 48}, DType::f32), {.shared = Shared::mlp_overlapped}, 4,
                 2);
  const auto steps = layer.plan.steps.size();
  CHECK(make_phases(layer.plan, 1).size() == 1);
  for (int threads : {2, 3, 16}) {
    const std::vector<Phase> phases = make_phases(layer.plan, threads);
    REQUIRE(phases.size() == 2);  // the overlapped stream starts with the layer
    size_t seen = 0;
    for (const Phase& phase : phases) {
      int used = 0;
      for (const Lane& lane : phase) {
        CHECK(lane.threads >= 1);
        used += lane.threads;
        seen += lane.steps.size();
      }
      CHECK(used == threads);
    }
    CHECK(seen == steps);
    for (int i : phases[0][1].steps) CHECK(layer.plan.steps[static_cast<size_t>(i)].stream == 1);
  }
}

TEST_CASE("a step of an overlapped layer alone has the threads of its lane") {
  CpuLayer layer(layer_of({80, 24, 60, 4, 48}, DType::f32), {.shared = Shared::mlp_overlapped}, 4,
                 2);
  static std::atomic<int> team{0};
  KernelDef counting = *default_choices(layer.plan, layer.device)[0].kernel;
  counting.run_cpu = [](const CpuArgs&, const Tile&, Team& t) { team = t.size(); };
  for (size_t i = 0; i < layer.plan.steps.size(); ++i) {
    const Step& step = layer.plan.steps[i];
    KernelDef kernel = *default_choices(layer.plan, layer.device)[i].kernel;
    kernel.run_cpu = counting.run_cpu;
    const Choice choice{&kernel, default_choices(layer.plan, layer.device)[i].tile};
    layer.session->run_step(static_cast<int>(i), choice, 0);
    CAPTURE(step.name);
    CHECK(team == (step.op == Op::shared_add ? 2 : 1));
  }
}

TEST_CASE("a kernel that throws ends the run, not the process, and the session goes on") {
  CpuLayer layer(layer_of({80, 24, 60, 4, 48}, DType::f32), {}, 4, 4);
  const std::vector<Choice> right = default_choices(layer.plan, layer.device);
  for (size_t i = 0; i < right.size(); ++i) {
    KernelDef failing = *right[i].kernel;
    failing.run_cpu = [](const CpuArgs&, const Tile&, Team& t) {
      if (t.rank() == t.size() - 1) throw std::bad_alloc();
    };
    std::vector<Choice> choices = right;
    choices[i].kernel = &failing;
    CHECK_THROWS_AS(layer.session->run(choices, 0), std::bad_alloc);
    CHECK_THROWS_AS(layer.session->run_step(static_cast<int>(i), choices[i], 0), std::bad_alloc);
  }
  layer.session->run(right, 0);
  CHECK(test::relative_error(layer.session->read(Buf::out), layer.reference[Buf::out]) < 1e-5);
}

TEST_CASE("a step lasts until its slowest thread is done, whenever the first one gets to look") {
  // Eight threads per core: the first is often late at a barrier, and early at the next.
  const int threads = 8 * static_cast<int>(std::thread::hardware_concurrency());
  CpuLayer layer(layer_of({80, 24, 60, 4, 48}, DType::f32), {}, 4, threads);
  const std::vector<Choice> right = default_choices(layer.plan, layer.device);
  std::vector<KernelDef> kernels;
  for (const Choice& choice : right) {
    kernels.push_back(*choice.kernel);
    kernels.back().run_cpu = [](const CpuArgs&, const Tile&, Team& t) {
      if (t.rank() == t.size() / 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
  }
  std::vector<Choice> slow = right;
  for (size_t i = 0; i < slow.size(); ++i) slow[i].kernel = &kernels[i];
  for (int round = 0; round < 20; ++round) {
    const RunTimes times = layer.session->run(slow, 0);
    double steps = 0;
    for (const double us : times.step_us) {
      CHECK(us >= 1000);
      steps += us;
    }
    CHECK(steps <= times.layer_us * (1 + 1e-9));
  }
}

TEST_CASE("shares cover everything once, in whole grains") {
  std::atomic<int64_t> counter{0};
  Scratch scratch;
  for (int64_t n : {0, 1, 7, 64, 1000})
    for (int64_t grain : {1, 4, 128})
      for (int size : {1, 2, 3, 16}) {
        int64_t end = 0;
        for (int rank = 0; rank < size; ++rank) {
          const auto [first, last] = Team(rank, size, counter, scratch).share(n, grain);
          CHECK(first == end);
          CHECK((first % grain == 0 || first == n));
          end = last;
        }
        CHECK(end == n);
      }
}

namespace {

void put(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file) << text << '\n';
}

}  // namespace

TEST_CASE("what the system says about caches, memory and cpus is read as it is meant") {
  const test::TemporaryFolder root;
  const SystemFiles files{root / "cpu", root / "meminfo", root / "cgroup", root / "groups"};
  CHECK(last_level_cache_bytes(files, {0, 1}) == 0);
  const auto cache = [&](int cpu, int index, const char* level, const char* size,
                         const char* shared) {
    const auto dir =
        files.cpus / ("cpu" + std::to_string(cpu)) / "cache" / ("index" + std::to_string(index));
    put(dir / "level", level);
    put(dir / "size", size);
    put(dir / "type", "Unified");
    put(dir / "shared_cpu_list", shared);
  };
  for (int cpu = 0; cpu < 4; ++cpu) cache(cpu, 0, "2", "1024K", std::to_string(cpu).c_str());
  CHECK(last_level_cache_bytes(files, {0, 1, 2}) == 3 << 20);
  for (int cpu = 0; cpu < 4; ++cpu) cache(cpu, 1, "3", "32M", cpu < 2 ? "0-1" : "2-3");
  CHECK(last_level_cache_bytes(files, {0, 1}) == 32 << 20);
  CHECK(last_level_cache_bytes(files, {0, 3}) == 64 << 20);

  put(files.meminfo, "MemTotal:  9000 kB\nMemAvailable:   4096 kB");
  CHECK(available_memory_bytes(files) == 4096 << 10);
  put(files.own_cgroups, "0::/job");
  put(files.cgroups / "job" / "memory.max", "max");
  CHECK(available_memory_bytes(files) == 4096 << 10);
  put(files.cgroups / "job" / "memory.max", "1048576");
  put(files.cgroups / "job" / "memory.current", "48576");
  CHECK(available_memory_bytes(files) == 1000000);

  CHECK(allowed_cpus(files, 64) == 64);
  put(files.cgroups / "job" / "cpu.max", "max 100000");
  CHECK(allowed_cpus(files, 64) == 64);
  put(files.cgroups / "job" / "cpu.max", "250000 100000");
  CHECK(allowed_cpus(files, 64) == 3);
  CHECK(allowed_cpus(files, 2) == 2);
  put(files.cgroups / "cpu.max", "50000 100000");  // what a container sees of its own group
  CHECK(allowed_cpus(files, 64) == 1);
  put(files.own_cgroups, "3:cpu,cpuacct:/job\n2:memory:/job");
  put(files.cgroups / "cpu" / "job" / "cpu.cfs_quota_us", "-1");
  put(files.cgroups / "cpu" / "job" / "cpu.cfs_period_us", "100000");
  CHECK(allowed_cpus(files, 64) == 64);
  put(files.cgroups / "cpu" / "job" / "cpu.cfs_quota_us", "400000");
  CHECK(allowed_cpus(files, 64) == 4);
  put(files.cgroups / "memory" / "job" / "memory.limit_in_bytes", "500000");
  CHECK(available_memory_bytes(files) == 500000);
}

#ifndef __SANITIZE_ADDRESS__  // which ends the process at such a store
TEST_CASE("a store before or behind a buffer is an attempt that is wrong, and nobody else's") {
  CpuLayer layer(layer_of({64, 32, 4, 2, 0}, DType::f32), {.shared = Shared::none}, 3, 2);
  static std::ptrdiff_t at;  // a kernel is a plain function
  const KernelDef stray{.name = "cpu.combine.stray",
                        .op = Op::combine,
                        .device = "cpu",
                        .axes = {},
                        .legal = [](const Tile&) { return std::string(); },
                        .fits = [](const Tile&, const LayerPlan&, const Step&,
                                   const DeviceInfo&) { return std::string(); },
                        .default_tile = nullptr,
                        .run_cpu =
                            [](const CpuArgs& args, const Tile&, Team& team) {
                              if (team.rank() == 0) args.f32(Buf::out)[at] = 0;
                            }};
  int combine = 0;
  while (layer.plan.steps[static_cast<size_t>(combine)].op != Op::combine) ++combine;
  for (std::ptrdiff_t outside : {std::ptrdiff_t{-1}, std::ptrdiff_t{3 * 64}}) {
    at = outside;
    CHECK_THROWS_WITH_AS(layer.session->run_step(combine, {&stray, {}}, 0),
                         "a store outside buffer out (768 bytes)", AttemptError);
    at = 0;
    CHECK_NOTHROW(layer.session->run_step(combine, {&stray, {}}, 0));
  }
}
#endif
