#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

#include "core/error.h"
#include "core/outcome.h"
#include "kernels/fault/spec.h"
#include "tests/kernels/cpu_fixture.h"

using namespace fse;

namespace {

const Variant kSlot{.gate = Gate::fused, .topk = Topk::fused, .shared = Shared::slot};

// A small layer on a device that fails as the items say.
struct Faulty {
  std::unique_ptr<Backend> backend;
  LayerPlan plan;
  std::unique_ptr<Session> session;
  std::vector<Choice> choices;
  int stage1 = 0;

  explicit Faulty(const std::string& items) : backend(open_backend("fault:cpu?" + items)) {
    const LayerSpec layer = test::layer_of({64, 32, 8, 2, 32}, DType::f32);
    const Shard shard = make_shard(layer, 1, 0);
    plan = make_plan(layer, shard, kSlot, 3, backend->device());
    session = backend->open(plan, random_weights(layer, shard, 7));
    session->set_input(random_input(3, layer.hidden, 7));
    choices = default_choices(plan, backend->device());
    while (plan.steps[static_cast<size_t>(stage1)].op != Op::grouped_stage1) ++stage1;
  }
  const Choice& choice(int step) const { return choices[static_cast<size_t>(step)]; }
  double run_step(Stage stage) {
    session->enter(Stage::prepare);
    session->run(choices, 0);
    session->enter(stage);
    return session->run_step(stage1, choice(stage1), 0);
  }
};

std::string spec_error(const std::string& text) {
  try {
    parse_fault_spec(text);
  } catch (const Error& error) {
    CHECK(error.kind == ErrorKind::usage);
    return error.what();
  }
  return "";
}

Status status_of(Faulty& faulty, Stage stage) {
  try {
    faulty.run_step(stage);
  } catch (const AttemptError& error) {
    CHECK(std::string(error.what()).starts_with("injected: "));
    return error.status;
  }
  return Status::measured;
}

// The process status of a child that compiles a step's kernel.
int status_of_child(const std::string& items) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGABRT, SIG_DFL);  // doctest would tell of it
    if (freopen("/dev/null", "w", stderr) == nullptr) _exit(98);
    Faulty faulty(items);
    faulty.session->compile(0, {&faulty.choices[0], 1});
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace

TEST_CASE("a fault device's text is read, or refused with what was expected") {
  const FaultSpec spec =
      parse_fault_spec("hip:0?hang=finals@3&wrong=screen@topk+rows=4&times=made");
  CHECK(spec.device == "hip:0");
  CHECK(spec.made_times);
  REQUIRE(spec.faults.size() == 2);
  CHECK(spec.faults[0].failure == Failure::hang);
  CHECK(spec.faults[0].stage == Stage::finals);
  CHECK(spec.faults[0].nth == 3);
  CHECK(spec.faults[1].words == std::vector<std::string>{"topk", "rows=4"});
  CHECK(parse_fault_spec("cpu").faults.empty());
  for (const char* bad : {"", "?hang=verify", "fault:cpu"})
    CHECK(spec_error(bad).find("expected a real device behind 'fault:'") != std::string::npos);
  for (const char* bad : {"cpu?", "cpu?hang", "cpu?hang=verify&", "cpu?times=real",
                          "cpu?melt=verify", "cpu?hang=lunch", "cpu?hang=", "cpu?hang=verify@",
                          "cpu?hang=verify@a++b", "cpu?nan=compile", "cpu?=verify", "cpu?@"}) {
    CAPTURE(bad);
    CHECK(spec_error(bad).find("fault device: '") == 0);
    CHECK(spec_error(bad).find(", expected ") != std::string::npos);
  }
}

TEST_CASE("the fault device is the device below where nothing is to fail") {
  Faulty plain("hang=finals");
  CHECK(plain.backend->device().name == "fault:cpu?hang=finals");
  CHECK(plain.backend->device().kind == "cpu");
  CHECK(plain.run_step(Stage::screen) > 0);
  CHECK(plain.session->read(Buf::out).allFinite());
}

TEST_CASE("every reported failure strikes in its stage and nowhere else") {
  const std::pair<const char*, Status> reported[] = {{"launch", Status::launch_failed},
                                                     {"oom", Status::out_of_memory},
                                                     {"sticky", Status::crashed}};
  for (const auto& [failure, status] : reported) {
    CAPTURE(failure);
    Faulty faulty(std::string(failure) + "=verify@grouped_stage1");
    CHECK(status_of(faulty, Stage::screen) == Status::measured);
    CHECK(status_of(faulty, Stage::verify) == status);
    // A lost device stays lost.
    const bool lost = status == Status::crashed;
    CHECK(status_of(faulty, Stage::screen) == (lost ? Status::crashed : Status::measured));
  }
  Faulty compiler("launch=compile@grouped_stage1");
  compiler.session->compile(compiler.stage1, {&compiler.choices[0], 1});  // told when it runs
  CHECK(status_of(compiler, Stage::verify) == Status::compile_failed);
}

TEST_CASE("results are damaged in one element") {
  for (const char* failure : {"wrong", "nan"}) {
    CAPTURE(failure);
    Faulty good("times=made"), bad(std::string(failure) + "=verify@grouped_stage1");
    good.run_step(Stage::verify);
    bad.run_step(Stage::verify);
    const Matrix want = good.session->read(Buf::h), got = bad.session->read(Buf::h);
    int64_t differ = 0;
    for (Eigen::Index i = 0; i < want.size(); ++i) differ += !(want.data()[i] == got.data()[i]);
    CHECK(differ == 1);
    CHECK(std::isnan(got(0, 0)) == (std::string(failure) == "nan"));
  }
}

TEST_CASE("made times are the same for the same tile, and failures of time scale them") {
  Faulty made("times=made"), slow("times=made&slow=screen"), zero("zero=screen"),
      fast("times=made&fast=screen@grouped_stage1");
  const double time_us = made.run_step(Stage::screen);
  CHECK(time_us >= 10);
  CHECK(time_us < 110);
  CHECK(made.run_step(Stage::finals) == time_us);
  CHECK(slow.run_step(Stage::screen) == 10 * time_us);
  CHECK(fast.run_step(Stage::screen) == time_us / 10);
  CHECK(zero.run_step(Stage::screen) == 0);
  double sum = 0;
  const RunTimes times = made.session->run(made.choices, 0);
  for (const double step_us : times.step_us) sum += step_us;
  CHECK(times.layer_us == doctest::Approx(sum + made.plan.tokens));  // else suspect twins
  CHECK(made.backend->measure_read_gbs() == 100);
}

TEST_CASE("a number strikes one choice, each time it comes") {
  Faulty faulty("wrong=layer_measure@2");
  faulty.session->enter(Stage::layer_measure);
  for (int repeat = 0; repeat < 2; ++repeat) {
    const Choice first = faulty.choice(0), second = faulty.choice(1);
    faulty.session->set_input(random_input(3, 64, 7));
    faulty.session->run_step(0, first, 0);
    CHECK(faulty.session->read(Buf::router_logits).maxCoeff() < 500);
    faulty.session->run_step(1, second, 0);
    CHECK(faulty.session->read(Buf::topk_weights).maxCoeff() > 500);
  }
}

TEST_CASE("the process ends as it is told to") {
  const int abort = status_of_child("abort=compile"),
            segfault = status_of_child("segfault=compile"), exit = status_of_child("exit=compile");
  CHECK(WIFSIGNALED(abort));
  CHECK(WTERMSIG(abort) == SIGABRT);
  CHECK(WIFSIGNALED(segfault));
  CHECK(WTERMSIG(segfault) == SIGSEGV);
  CHECK(WIFEXITED(exit));
  CHECK(WEXITSTATUS(exit) == 3);
}
