#include <doctest/doctest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace {

namespace fs = std::filesystem;

const fse::test::TemporaryFolder kFolder;

struct Result {
  int exit_code = -1;
  std::string out, err;
};

std::string read(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

// As a user would: through a shell, in a folder that is not the project's.
Result fselab(const std::string& arguments) {
  const std::string command = "cd '" + kFolder.path().string() + "' && '" FSELAB_COMMAND "' " +
                              arguments + " >out.txt 2>err.txt </dev/null";
  const int status = std::system(command.c_str());
  return {.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          .out = read(kFolder / "out.txt"),
          .err = read(kFolder / "err.txt")};
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

const std::string kSmall = " models=qwen3-next-80b-a3b tokens=1 device=cpu";

TEST_CASE("the version names the sources it was built from") {
  const Result r = fselab("--version");
  CHECK(r.exit_code == 0);
  CHECK(r.out.starts_with("fselab 0.1.0 ("));
  CHECK(r.err.empty());
}

TEST_CASE("mistakes exit with 2 and one line") {
  struct Mistake {
    std::string arguments, error;
  };
  const std::vector<Mistake> mistakes{
      {"", "fselab: no command, expected one of plan, "},
      {"paln quickstart", "(did you mean 'plan'?)"},
      {"plan", "fselab: sweep is required; fselab plan --help explains it"},
      {"plan quickstart --stepz", "fselab: The following argument was not expected: --stepz"},
      {"plan quikstart", "(did you mean 'quickstart'?)"},
      {"plan ./nowhere.yaml", "fselab: sweep './nowhere.yaml': no such file"},
      {"plan quickstart 'tokens=[1,'",
       "fselab: override 'tokens=[1,': end of sequence flow not found, expected valid YAML"},
      {"plan quickstart tokns=1", "(did you mean 'tokens'?)"},
      {"plan quickstart tokens", "fselab: override 'tokens': expected KEY=VALUE"},
      {"kernels", "A subcommand is required"},
      {"capabilities --model no-such-model", "no-such-model"},
      {"--nonsense", "fselab: "},
  };
  for (const auto& [arguments, error] : mistakes) {
    CAPTURE(arguments);
    const Result r = fselab(arguments);
    CAPTURE(r.err);
    CHECK(r.exit_code == 2);
    CHECK(r.out.empty());
    CHECK(contains(r.err, error));
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 1);
  }
}

TEST_CASE("a device that is not there exits with 3") {
  CHECK(fselab("plan quickstart device=cpu9").exit_code == 2);  // no device's name at all
  CHECK(fselab("plan quickstart device=hip:99").exit_code == 3);
}

TEST_CASE("plan explains a sweep and its refusals") {
  const Result r = fselab("plan quickstart device=cpu tokens=[1,4] study=run");
  CAPTURE(r.err);
  REQUIRE(r.exit_code == 0);
  CHECK(r.out.starts_with("run: 48 cases in 4 workloads on cpu"));
  CHECK(contains(r.out, "36 to run, 12 refused"));
  CHECK(contains(r.out, "refused: glm-4.7 bf16 tp=4: gate=fused: the layer has no shared gate"));
  CHECK(contains(r.out, "fused/fused/slot/staged/stream"));
  CHECK(contains(r.out, "\nmemory, of "));
  CHECK(contains(r.out, "\ntime, at "));
  const Result steps = fselab("plan quickstart --steps" + kSmall);
  REQUIRE(steps.exit_code == 0);
  CHECK(contains(steps.out, "grouped_stage1"));
  CHECK(contains(steps.out, "sorted_pairs"));
}

TEST_CASE("names of commands are names like any other") {
  for (const std::string name : {"run", "report"}) {
    CAPTURE(name);
    std::ofstream(kFolder / name) << "study: " << name
                                  << "\nmodels: qwen3-next-80b-a3b\ntokens: 1\ndevice: cpu\n"
                                     "variants: {gate: separate, topk: unfused, shared: mlp}\n";
    const Result r = fselab("plan " + name);
    CAPTURE(r.err);
    CHECK(r.exit_code == 0);
    CHECK(r.out.starts_with(name + ": 1 case"));
  }
}

TEST_CASE("a model that is not implemented is refused, and so is a sweep with nothing legal") {
  std::ofstream(kFolder / "config.json") << R"({"model_type": "deepseek_v4", "hidden_size": 64,
    "moe_intermediate_size": 32, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "scoring_func": "sqrtsoftplus", "num_hidden_layers": 1})";
  const Result model = fselab("capabilities --model ./config.json --device cpu");
  CHECK(model.exit_code == 2);
  CHECK(model.err.starts_with("refused:"));
  const Result sweep = fselab("plan quickstart models=glm-4.7 variants.gate=fused device=cpu");
  CHECK(sweep.exit_code == 2);
  CHECK(sweep.err ==
        "refused: nothing in sweep quickstart can run on cpu: gate=fused: the layer has no shared "
        "gate to fuse\n");
}

TEST_CASE("capabilities, devices and kernels are tables") {
  const Result glm = fselab("capabilities --model glm-4.7 --device cpu");
  CAPTURE(glm.err);
  REQUIRE(glm.exit_code == 0);
  CHECK(contains(glm.out, "gate=fused: the layer has no shared gate to fuse"));
  CHECK(contains(glm.out, "shared=none: the layer has a shared expert"));
  const Result any = fselab("capabilities --device cpu");
  REQUIRE(any.exit_code == 0);
  CHECK(!contains(any.out, "the layer has"));  // some layer can, so the device can
  CHECK(contains(any.out, "launch=graph: cpu has no graph replay"));
  const Result devices = fselab("devices");
  CHECK(devices.exit_code == 0);
  CHECK(contains(devices.out, "cpu"));
  const Result kernels = fselab("kernels ls");
  CHECK(kernels.exit_code == 0);
  CHECK(contains(kernels.out, "grouped_stage1"));
}

TEST_CASE("a small sweep runs, resumes and is reported") {
  fs::remove(kFolder / "r.db");
  std::ofstream(kFolder / "config.json") << R"({"model_type": "qwen3_next", "hidden_size": 64,
    "moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 2,
    "shared_expert_intermediate_size": 32, "num_hidden_layers": 1})";
  std::ofstream(kFolder / "small.yaml") << "study: report\nmodels: ./config.json\ntokens: 2\n"
                                           "device: cpu\ntune: {strategy: none}\n"
                                           "measure: {cache: warm, min_rounds: 6, interval: 50%}\n";
  const std::string run = "run small.yaml --db r.db --quiet 'variants={shared: [mlp, slot]}'";
  const Result first = fselab(run);
  CAPTURE(first.err);
  REQUIRE(first.exit_code == 0);
  CHECK(contains(first.out, "fused/fused/slot"));
  CHECK(contains(first.out, "fselab " + run));  // quoted, so that it can be pasted
  const Result again = fselab(run);
  CHECK(again.exit_code == 0);
  CHECK(again.out == first.out);  // nothing was measured anew
  const Result report = fselab("report --db r.db --study report --out report.md");
  CHECK(report.exit_code == 0);
  CHECK(report.out.empty());
  CHECK(read(kFolder / "report.md") == first.out);
  CHECK(fselab("report --db r.db --study run").exit_code == 2);
  CHECK(fselab("report --db r.db --format xml").exit_code == 2);
  CHECK(fselab("report --db r.db --out no/such/folder.md").exit_code == 3);
  CHECK(fselab("report --db small.yaml").exit_code == 5);
}

TEST_CASE("every command explains itself") {
  for (const std::string command :
       {"plan", "run", "verify", "capabilities", "report", "devices", "kernels"}) {
    CAPTURE(command);
    const Result r = fselab(command + " --help");
    CHECK(r.exit_code == 0);
    CHECK(contains(r.out, "Example: fselab " + command));
  }
  const Result all = fselab("--help");
  CHECK(all.exit_code == 0);
  CHECK(contains(all.out, "plan"));
}

}  // namespace
