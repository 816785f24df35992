#include "tuner/step_bench.h"

#include <algorithm>

#include "tuner/verify.h"

namespace fse {
namespace {

// Fresh routing per round needs only the steps up to dispatch; what the expert kernels left in the
// large buffers of round 0 has the right shape and finite values for every round.
bool is_routing(Op op) {
  return op <= Op::dispatch;
}

bool is_large(Buf id) {
  return id == Buf::x || id == Buf::h || id == Buf::y || id == Buf::shared_h ||
         id == Buf::shared_out || id == Buf::out;
}

bool contains(const std::vector<Buf>& list, Buf id) {
  return std::find(list.begin(), list.end(), id) != list.end();
}

}  // namespace

StepBench::StepBench(Session& session, const LayerPlan& plan, size_t step,
                     std::span<const Choice> choices, const Workload& workload)
    : session_(session),
      plan_(plan),
      step_(plan.steps[step]),
      index_(step),
      workload_(workload),
      choices_(choices.begin(), choices.end()) {
  constexpr size_t kRounds = 8;
  rounds_.resize(std::min(kRounds, workload.inputs.size()));
  session_.enter(Stage::prepare);
  session_.poison_buffers();
  // Backwards, so that round 0 is what stays in the buffers.
  for (size_t round = rounds_.size(); round-- > 0;) {
    session_.set_input(workload.inputs[round]);
    for (size_t i = 0; i < step; ++i)
      if (round == 0 || is_routing(plan.steps[i].op))
        session_.run_step(static_cast<int>(i), choices[i], 0);
    if (step_.op == Op::layer) session_.run_step(static_cast<int>(step), choices[step], 0);
    rounds_[round] = snapshot();
    add_work();
  }
  work_.bytes /= static_cast<double>(rounds_.size());
  work_.flops /= static_cast<double>(rounds_.size());
  Trial usual{.input = {.name = "", .x = workload.inputs[0], .set = 0}};
  for (Buf id : step_.reads) usual.inputs[id] = session_.read(id);
  trials_.push_back(std::move(usual));
}

void StepBench::add_work() {
  // Before the ids exist no op's work depends on them.
  const bool routed =
      contains(step_.reads, Buf::sorted_pairs) || step_.op == Op::combine || step_.op == Op::layer;
  const Load load = routed ? load_of(session_.read(Buf::topk_ids), plan_.expert_count()) : Load{};
  const Work work = step_work(plan_, step_, load);
  work_.bytes += work.bytes;
  work_.flops += work.flops;
}

StepBench::Snapshot StepBench::snapshot() const {
  Snapshot saved;
  for (Buf id : step_.reads)
    if (!is_large(id)) saved.emplace_back(id, session_.read(id));
  return saved;
}

void StepBench::restore(const Snapshot& saved) {
  for (const auto& [id, values] : saved) session_.write(id, values);
}

// Large inputs are not kept a second time.
RefState StepBench::expected_of(const Trial& trial) const {
  const LayerWeights& weights = workload_.sets[static_cast<size_t>(trial.input.set)];
  RefState expected = reference_of(plan_, step_, weights, trial.inputs);
  for (Buf id : step_.reads)
    if (is_large(id) && !contains(step_.writes, id)) expected[id].resize(0, 0);
  return expected;
}

StepBench::Trial StepBench::hostile_trial(HostileInput input) {
  Trial trial{.input = std::move(input)};
  session_.poison_buffers();
  session_.set_input(trial.input.x);
  for (size_t i = 0; i < index_; ++i)
    session_.run_step(static_cast<int>(i), choices_[i], trial.input.set);
  for (Buf id : step_.reads) trial.inputs[id] = session_.read(id);
  trial.expected = expected_of(trial);
  return trial;
}

void StepBench::prepare_reference() {
  if (trials_.size() > 1) return;
  trials_[0].expected = expected_of(trials_[0]);
  placed_.reset();
  for (HostileInput& input : hostile_inputs(workload_.sets, plan_.tokens))
    trials_.push_back(hostile_trial(std::move(input)));
}

// What the step reads. Large buffers stay as they are for as long as the trial is the same.
void StepBench::place(size_t trial) {
  const Trial& t = trials_[trial];
  session_.set_input(t.input.x);
  for (Buf id : step_.reads)
    if (id != Buf::x && (placed_ != trial || !is_large(id))) session_.write(id, t.inputs[id]);
  placed_ = trial;
}

void StepBench::compile(std::span<const Choice> soon) {
  session_.enter(Stage::compile);
  session_.compile(static_cast<int>(index_), soon);
}

// Nothing where the step cannot be run so.
std::optional<Accuracy> StepBench::verify_on(size_t trial, const Choice& choice, From from) {
  place(trial);
  const Trial& t = trials_[trial];
  for (Buf id : step_.writes)
    contains(step_.reads, id) ? session_.write(id, t.inputs[id])
                              : session_.poison_buffer(*plan_.find(id));
  for (Buf id : step_.scratch) session_.poison_buffer(*plan_.find(id));
  if (from == From::stream)
    session_.run_step(static_cast<int>(index_), choice, t.input.set);
  else if (!session_.replay_step(static_cast<int>(index_), choice, t.input.set))
    return std::nullopt;
  peak_bytes_ = std::max(peak_bytes_, session_.memory_bytes());
  RefState outputs;
  for (Buf id : step_.writes) outputs[id] = session_.read(id);
  for (Buf id : step_.scratch) session_.read(id);  // looks at its guards
  return verify_step(plan_, step_, workload_.sets[static_cast<size_t>(t.input.set)], t.inputs,
                     outputs, t.expected);
}

Accuracy StepBench::verify(const Choice& choice) {
  prepare_reference();
  session_.enter(Stage::verify);
  peak_bytes_ = 0;
  Accuracy worst = *verify_on(0, choice, From::stream);
  const auto also = [&](size_t trial, From from, const std::string& on) {
    const std::optional<Accuracy> next = worst.ok() ? verify_on(trial, choice, from) : std::nullopt;
    if (!next) return;
    keep_worse(worst, *next);
    if (!worst.ok()) worst.first_bad = on + ": " + worst.first_bad;
  };
  also(0, From::graph, "replayed from a graph");
  for (size_t trial = 1; trial < trials_.size(); ++trial)
    also(trial, From::stream, trials_[trial].input.name);
  return worst;
}

double StepBench::time_us(const Choice& choice, int round, Stage stage) {
  session_.enter(stage);
  if (placed_ != 0) place(0);
  const size_t r = static_cast<size_t>(round) % rounds_.size();
  if (contains(step_.reads, Buf::x)) session_.set_input(workload_.inputs[r]);
  restore(rounds_[r]);
  if (workload_.cache == Cache::cold_all) session_.evict_caches();
  const size_t set = next_set_++ % workload_.sets.size();
  return session_.run_step(static_cast<int>(index_), choice, static_cast<int>(set));
}

}  // namespace fse
