#include "experiments/framework_reader.h"

#include <doctest/doctest.h>

#include "core/model_import.h"
#include "tests/experiments/command.h"

namespace fse::test {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path(FSELAB_SOURCE_DIR) / "configs";

std::string error_of(std::string yaml, const std::string& from, const std::string& to) {
  const size_t at = yaml.find(from);
  REQUIRE(at != std::string::npos);
  yaml.replace(at, from.size(), to);
  try {
    parse_framework(yaml, "f.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("the kernels of vLLM 0.19 on ROCm are data, each with its source and date") {
  const FrameworkModel f = find_framework("vllm-0.19-rocm", kConfigs);
  CHECK(f.max_batched_tokens == 8192);
  CHECK(f.capture_sizes.front() == 1);
  CHECK(f.capture_sizes.back() == 512);
  CHECK(f.random_prompts.kind == PriorKind::zipf);
  for (const InventorySection& section : kInventorySections)
    for (const InventoryKernel& kernel : f.kernels.*section.kernels) {
      CAPTURE(kernel.name);
      CHECK(!kernel.provenance.source.empty());
      CHECK(kernel.provenance.date.starts_with("20"));
    }
}

TEST_CASE("what the fused shared expert removes is what the inventory says") {
  const FrameworkModel f = find_framework("vllm-0.19-rocm", kConfigs);
  ServingCase c{.shape = read_model_shape(kConfigs / "models/qwen3-next-80b-a3b.json"),
                .layer = find_model("qwen3-next-80b-a3b", kConfigs).layer};
  DeviceModel d;
  d.compute_units = d.read_gbs = d.workgroup_gbs = d.bf16_tflops = 100;
  d.gemm_share = d.grouped_share = 1;
  const auto launches = [&](Variant v) {
    c.variant = v;
    return kernel_times(f.kernels.moe, c, d, 4).size();
  };
  // A gate, an activation, and the MLP: two quantisations, two GEMMs, SiLU-mul, weight, add.
  CHECK(launches({}) == 13);
  CHECK(launches({Gate::fused, Topk::fused, Shared::slot}) == 4);
  CHECK(launches({Gate::separate, Topk::unfused, Shared::slot}) == 7);
}

TEST_CASE("a wrong inventory is refused with the place and what was expected") {
  const std::string yaml = read_text(kConfigs / "frameworks/vllm-0.19-rocm.yaml");
  const struct {
    const char *from, *to, *message;
  } wrongs[] = {
      {"work: gemm", "work: gem", "expected one of gemm, elementwise, experts, all_reduce"},
      {"width: hidden", "width: hiden", "expected a sum of products"},
      {"width: hidden", "widht: hidden", "unknown key 'widht' in attention"},
      {"width: hidden, ", "", "attention has no 'width'"},
      {"weights: layer, source", "weights: fp8, source",
       "attention.weights is 'fp8', expected one of layer, bf16"},
      {"name: quantize_in", "name: input_norm", "'input_norm' twice"},
      {"{ranks: true}", "{ranks: many}", "attention.when.ranks is 'many'"},
      {"{gate: separate}", "{gates: separate}", "unknown key 'gates'"},
      {"kind: published", "kind: heard", "kind is 'heard'"},
      {", date: 2026-11-25, kind: inferred}\nhost_us", "}\nhost_us", "has no 'date'"},
      {"zipf(1.575)", "zipf(-1)", "expected uniform, zipf(0 to 4)"},
      {"value: 8192", "value: 0", "max_batched_tokens.value is '0', expected a whole number"},
      {"unit: tokens", "unit: rows", "max_batched_tokens.unit is 'rows', expected one of tokens"},
      {"range(8, 256, 8)", "3", "capture_sizes.value is a list, expected ascending sizes"},
      {" head:\n", " tail:\n", "unknown key 'tail' in kernels"},
  };
  for (const auto& wrong : wrongs) {
    CAPTURE(std::string(wrong.to));
    const std::string error = error_of(yaml, wrong.from, wrong.to);
    CAPTURE(error);
    CHECK(error.starts_with("f.yaml:"));
    CHECK(error.find(wrong.message) != std::string::npos);
  }
}

TEST_CASE("a framework without a file is refused with those that have one") {
  const TemporaryFolder folder;
  const Result r =
      fselab(folder.path(), {"simulate", "serving", "serving.framework=vllm-0.19-rocn"});
  CHECK(r.exit_code == 2);
  CHECK(r.err.find("did you mean 'vllm-0.19-rocm'?") != std::string::npos);
}

}  // namespace fse::test
