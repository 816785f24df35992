#include "tuner/tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "core/error.h"
#include "core/rng.h"
#include "tuner/attempt.h"
#include "tuner/doubt.h"
#include "tuner/incumbent.h"
#include "tuner/selection.h"

namespace fse {
namespace {

using Clock = std::chrono::steady_clock;

// One search of one step.
class Search {
 public:
  Search(StepRunner& bench, const LayerPlan& plan, const Step& step,
         std::optional<StepIncumbent> incumbent, const TuneSpec& spec, const Ledger& ledger,
         const TuneControl& control)
      : bench_(bench),
        plan_(plan),
        step_(step),
        spec_(spec),
        ledger_(ledger),
        control_(control),
        rng_(control.seed),
        key_(step_key(plan, step)),
        incumbent_(std::move(incumbent)) {
    for (const AttemptRecord& done :
         ledger_.store.step_attempts(key_, ledger_.workload, ledger_.environment))
      if (!was_interrupted(done.outcome))  // those are tried again
        finished_[choice_text(done.kernel, done.tile)] = done;
    deaths_ = ledger_.store.deaths(ledger_.environment);
  }

  // `space` holds the point of every candidate.
  Choice run(const std::vector<Choice>& all, const SearchSpace& space) {
    const size_t most = most_evaluations(all.size());
    bench_.prepare_reference();
    start_ = Clock::now();  // the budget is for candidates
    if (spec_.strategy == Strategy::exhaustive)
      screen_in_order(all, most);
    else
      screen_by_search(all, space, most);
    if (spec_.strategy != Strategy::none) screen_library(all);
    if (incumbent_ && !tried_.contains(to_text(incumbent_->choice))) screen(incumbent_->choice);
    if (screened_.empty()) fail("no kernel gave a right result");
    return finals();
  }

 private:
  static constexpr size_t kAhead = 16;  // candidates that are compiled together
  struct Screened {
    Choice choice;
    double median_us;
    bool is_default;
  };

  // Every candidate failed, the device did not: the next step can be asked of it.
  [[noreturn]] void fail(const char* what) const {
    throw AttemptError(first_status_, fmt::format("{}: {}; {}", key_, what, first_failure_), false);
  }

  // However short the time: a winner of one is no search.
  static constexpr size_t kFewest = 4;

  void screen_in_order(const std::vector<Choice>& all, size_t most) {
    for (size_t i = 0; i < most && !enough(i); ++i) {
      if (i % kAhead == 0) bench_.compile(std::span(all).subspan(i, std::min(kAhead, most - i)));
      screen(all[i]);
    }
  }

  void screen_by_search(const std::vector<Choice>& all, const SearchSpace& space, size_t most) {
    Searcher searcher(space, method(space, most), rng_.next());
    for (size_t i = 0; i < most && !enough(i); ++i) {
      const auto point = searcher.ask();
      if (!point) break;
      if (!compiled_.contains(*point)) compile_ahead(all, *point, searcher, most - i);
      const size_t before = screened_.size();
      screen(all[*point]);
      searcher.tell(*point, screened_.size() > before ? screened_.back().median_us : NAN);
    }
  }

  // The vendor's library has a few tiles among thousands: its first ones are tried whatever the
  // search came upon and the budget allows, so that it is in the finals, which say what was gained.
  void screen_library(const std::vector<Choice>& all) {
    std::vector<Choice> first;
    for (const Choice& choice : all)
      if (is_library(choice.kernel->name) && first.size() < kFewest) first.push_back(choice);
    std::erase_if(first, [&](const Choice& choice) { return tried_.contains(to_text(choice)); });
    bench_.compile(first);
    for (const Choice& choice : first) screen(choice);
  }

  SearchMethod method(const SearchSpace& space, size_t most) const {
    if (spec_.strategy == Strategy::automatic) return automatic_method(space, most);
    return *from_name<SearchMethod>(to_name(spec_.strategy));
  }

  bool enough(size_t evaluations) const {
    if (evaluations < kFewest) return false;
    return out_of_time() || (spec_.no_gain && without_gain_ >= *spec_.no_gain);
  }

  // This candidate, and those that the search asks for next unless one of them is better: a GPU's
  // compiler uses as many cores as there are.
  void compile_ahead(const std::vector<Choice>& all, size_t first, Searcher guess, size_t most) {
    std::vector<Choice> soon;
    std::optional<size_t> point = first;
    for (; point && soon.size() < std::min(kAhead, most); point = guess.ask()) {
      guess.tell(*point, NAN);
      if (compiled_.insert(*point).second) soon.push_back(all[*point]);
    }
    bench_.compile(soon);
  }

  size_t most_evaluations(size_t all) const {
    size_t most = spec_.strategy == Strategy::none ? 1 : all;
    if (spec_.evaluations) most = std::min(most, static_cast<size_t>(*spec_.evaluations));
    if (spec_.fraction)
      most = std::min(most,
                      static_cast<size_t>(std::ceil(*spec_.fraction * static_cast<double>(all))));
    return std::max<size_t>(most, 1);
  }

  double elapsed() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  bool out_of_time() const { return spec_.seconds && elapsed() > *spec_.seconds; }

  // Who competes whatever it takes, and why.
  std::string role(const Choice& choice, bool is_default) const {
    if (is_incumbent(choice)) return incumbent_->name;
    return is_default ? "default" : "";
  }
  bool is_incumbent(const Choice& choice) const {
    return incumbent_ && choice == incumbent_->choice;
  }

  AttemptRecord begin(const Choice& choice, bool is_default) {
    if (control_.stop()) throw Error(ErrorKind::incomplete, "stopped");
    AttemptRecord record;
    record.step_key = key_;
    record.workload = ledger_.workload;
    record.kernel = choice.kernel->name;
    record.tile = choice.tile;
    record.role = role(choice, is_default);
    const Work work = bench_.work();
    record.bytes = work.bytes;
    record.flops = work.flops;
    record.floor_us = ledger_.floor_us(work);
    record.read_gbs = ledger_.read_gbs;
    record.peak_gflops = ledger_.peak_gflops;
    record.weight_sets = ledger_.rotation.sets;
    record.rotation_shortfall_bytes = ledger_.rotation.shortfall_bytes;
    record.id = ledger_.store.begin_attempt(ledger_.study, ledger_.environment, record);
    return record;
  }

  void finish(AttemptRecord& record) {
    record.time_us = summarize(record.outcome.samples_us);
    ledger_.store.finish_attempt(record.id, record);
    told(record);
  }

  void told(const AttemptRecord& record) {
    control_.progress(record);
    if (record.outcome.status != Status::measured)
      note_failure(choice_text(record.kernel, record.tile), record.outcome);
  }

  void note_failure(const std::string& what, const Outcome& outcome) {
    if (!first_failure_.empty()) return;
    first_failure_ = what + ": " + outcome.reason;
    first_status_ = outcome.status;
  }

  void screen(const Choice& choice) {
    const bool is_default = tried_.empty();
    tried_.insert(to_text(choice));
    if (const auto it = finished_.find(to_text(choice)); it != finished_.end())
      return keep(choice, it->second.outcome, it->second.time_us.median, is_default);
    bench_.restore();
    AttemptRecord record = begin(choice, is_default);
    const auto known = quarantined(choice);
    record.outcome = known ? *known : attempt(choice);
    judge_speed(record);
    finish(record);
    if (device_lost_) throw AttemptError(record.outcome.status, record.outcome.reason);
    keep(choice, record.outcome, record.time_us.median, is_default);
  }

  // Measuring the device once more takes time that the candidates have not had.
  void judge_speed(AttemptRecord& record) {
    const Clock::time_point began = Clock::now();
    doubt(record, plan_, step_, ledger_, control_);
    start_ += Clock::now() - began;
  }

  // A tile that ended two workers, in whichever step, is not given a third.
  std::optional<Outcome> quarantined(const Choice& choice) const {
    const auto it = deaths_.find(to_text(choice));
    if (it == deaths_.end() || it->second < 2) return std::nullopt;
    return Outcome{.status = Status::illegal,
                   .reason = fmt::format("quarantined: it ended {} workers", it->second)};
  }

  void keep(const Choice& choice, const Outcome& outcome, double median_us, bool is_default) {
    without_gain_ =
        outcome.status == Status::measured && median_us < best_us() ? 0 : without_gain_ + 1;
    if (outcome.status == Status::measured)
      screened_.push_back({choice, median_us, is_default});
    else
      note_failure(to_text(choice), outcome);
  }

  Outcome attempt(const Choice& choice) {
    return end_of([&] {
      Outcome outcome = verified(bench_, choice);
      if (outcome.status == Status::measured) outcome.samples_us = screening_samples(choice);
      return judged(std::move(outcome));
    });
  }

  Outcome end_of(const std::function<Outcome()>& work) {
    Ended end = ended(work);
    device_lost_ = end.device_lost;
    return std::move(end.outcome);
  }

  // Three samples, and up to nine more while they are cheap: 20 ms buys a stable median of a short
  // step, and a long step is stable already.
  std::vector<double> screening_samples(const Choice& choice) {
    constexpr double kCheapUs = 20000;
    std::vector<double> samples;
    double total = 0;
    for (int round = 0; round < 12 && (round < 3 || total < kCheapUs); ++round) {
      samples.push_back(bench_.time_us(choice, round));
      total += samples.back();
      if (samples.back() > 3 * best_us()) break;
    }
    return samples;
  }

  double best_us() const {
    double best = INFINITY;
    for (const Screened& s : screened_) best = std::min(best, s.median_us);
    return best;
  }

  // The incumbent, to which all are compared, then the four fastest, and the default and the
  // vendor's library wherever they came in.
  std::vector<Screened> finalists() {
    std::stable_sort(screened_.begin(), screened_.end(), [](const Screened& a, const Screened& b) {
      return a.median_us < b.median_us;
    });
    constexpr size_t kFinalists = 4;
    std::vector<Screened> chosen;
    bool has_library = false;
    for (const Screened& s : screened_) {
      const bool first_library = is_library(s.choice.kernel->name) && !has_library;
      has_library = has_library || first_library;
      if (chosen.size() < kFinalists || s.is_default || is_incumbent(s.choice) || first_library)
        chosen.push_back(s);
    }
    std::stable_partition(chosen.begin(), chosen.end(),
                          [&](const Screened& s) { return is_incumbent(s.choice); });
    return chosen;
  }

  Choice finals() {
    const std::vector<Screened> entrants = finalists();
    std::vector<AttemptRecord> records;
    for (const Screened& s : entrants) {
      bench_.restore();
      records.push_back(begin(s.choice, s.is_default));
      // Right once and wrong now: not to be trusted.
      records.back().outcome = end_of([&] { return verified(bench_, s.choice); });
      if (device_lost_) close_all(records);
    }
    race(entrants, records);
    if (device_lost_) close_all(records);
    for (AttemptRecord& record : records) {
      judge_speed(record);
      record.time_us = summarize(record.outcome.samples_us);
    }
    const std::optional<size_t> best = best_finalist(records);
    ledger_.store.finish_finals(records, best ? records[*best].id : 0);
    for (const AttemptRecord& record : records) told(record);
    if (!best) fail("no finalist can be believed");
    return entrants[*best].choice;
  }

  // The device is lost: what was under way is closed as what it is.
  [[noreturn]] void close_all(std::vector<AttemptRecord>& records) {
    const Outcome last = records.back().outcome;
    for (AttemptRecord& record : records) {
      if (record.outcome.status == Status::measured)
        record.outcome = {.status = Status::crashed, .reason = "the device was lost meanwhile"};
      finish(record);
    }
    throw AttemptError(Status::crashed, last.reason);
  }

  // Interleaved rounds in shuffled order, at least 6 for an interval, up to 25; long steps stop
  // when the finals have taken as long as the screening was allowed to.
  void race(const std::vector<Screened>& entrants, std::vector<AttemptRecord>& records) {
    const Clock::time_point start = Clock::now();
    const double limit = std::max(0.2, spec_.seconds.value_or(10) / 2);
    std::vector<size_t> order(entrants.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    for (int round = 0; round < 25; ++round) {
      shuffle(order, rng_);
      for (size_t i : order)
        if (!sample(entrants[i].choice, round, records[i].outcome)) return;
      const double spent = std::chrono::duration<double>(Clock::now() - start).count();
      if (round + 1 >= 6 && spent > limit) return;
    }
  }

  // One more sample of a finalist that is still in the race; false where the device is lost.
  bool sample(const Choice& choice, int round, Outcome& so_far) {
    if (so_far.status != Status::measured) return true;
    bench_.restore();
    const Outcome now = end_of([&] {
      return judged({.status = Status::measured,
                     .samples_us = {bench_.time_us(choice, round, Stage::finals)}});
    });
    so_far.samples_us.insert(so_far.samples_us.end(), now.samples_us.begin(), now.samples_us.end());
    if (now.status == Status::measured) return true;
    so_far.status = now.status;
    so_far.reason = now.reason;
    return !device_lost_;
  }

  StepRunner& bench_;
  const LayerPlan& plan_;
  const Step& step_;
  const TuneSpec& spec_;
  const Ledger& ledger_;
  const TuneControl& control_;
  Rng rng_;
  const std::string key_;
  const std::optional<StepIncumbent> incumbent_;
  std::set<std::string> tried_;  // by this search, as texts
  std::map<std::string, AttemptRecord> finished_;
  std::vector<Screened> screened_;
  std::map<std::string, int> deaths_;  // of workers, by choice
  bool device_lost_ = false;
  int without_gain_ = 0;  // candidates since the last that was the best so far
  std::string first_failure_;
  Status first_status_ = Status::launch_failed;
  std::set<size_t> compiled_;  // indices of candidates
  Clock::time_point start_;
};

}  // namespace

double Ledger::floor_us(const Work& work) const {
  const double bytes = cache == Cache::warm ? 0 : work.bytes;
  return fse::floor_us({bytes, work.flops}, read_gbs, peak_gflops);
}

std::optional<Choice> recorded_choice(const LayerPlan& plan, const Step& step,
                                      const DeviceInfo& device, const Ledger& ledger,
                                      const TuneSpec& spec) {
  const auto winner = ledger.store.step_winner(ledger.study, step_key(plan, step), ledger.workload,
                                               ledger.environment);
  if (!winner) return std::nullopt;
  for (const Choice& choice : candidates(plan, step, device, spec.tiles))
    if (choice.kernel->name == winner->kernel && choice.tile == winner->tile) return choice;
  return std::nullopt;
}

Choice tune_step(StepRunner& bench, const LayerPlan& plan, const Step& step,
                 const DeviceInfo& device, const TuneSpec& spec, const Ledger& ledger,
                 const TuneControl& control) {
  const std::vector<Choice> all = candidates(plan, step, device, spec.tiles);
  return Search(bench, plan, step, step_incumbent(plan, step, device, ledger, spec), spec, ledger,
                control)
      .run(all, space_of(all, plan, step, device));
}

}  // namespace fse
