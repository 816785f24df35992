#include "experiments/layer_race.h"

#include <fmt/format.h>

#include <algorithm>

#include "experiments/describe_layer.h"
#include "experiments/interrupt.h"
#include "tuner/attempt.h"
#include "tuner/confirm.h"
#include "tuner/selection.h"

namespace fse {

std::string label(const Case& spec) {
  return fmt::format("{} {} tokens={} {}", spec.layer.model, to_name(spec.layer.dtype), spec.tokens,
                     to_label(spec.variant));
}

AttemptRecord layer_attempt(const RunContext& context, const Case& spec) {
  AttemptRecord record;
  record.case_id = case_id(spec);
  record.workload = context.ledger.workload;
  record.weight_sets = context.ledger.rotation.sets;
  record.rotation_shortfall_bytes = context.ledger.rotation.shortfall_bytes;
  return record;
}

void close_case(const RunContext& context, const Case& spec, const AttemptRecord& record) {
  context.ledger.store.finish_case(record.id, record);
  context.progress.case_done(label(spec), summarize(record.outcome.samples_us),
                             record.outcome.status == Status::measured, record.outcome.reason);
}

void raise_ceilings(RunContext& context) {
  Ledger& ledger = context.ledger;
  ledger.read_gbs = std::max(ledger.read_gbs, context.bench.measure_read_gbs());
  ledger.peak_gflops = std::max(ledger.peak_gflops, context.bench.measure_peak_gflops());
}

namespace {

// What the router chose, as the first that can tell says; those that cannot fail.
std::vector<Load> tell_loads(const RunContext& context,
                             std::vector<std::unique_ptr<Entry>>& entries) {
  while (!entries.empty()) {
    Entry& first = *entries.front();
    try {
      return realised_loads({first.layer.get(), first.choices}, context.bench.inputs());
    } catch (const AttemptError& error) {
      if (error.device_lost) throw;
      fail_case(context, first.record->spec, {.status = error.status, .reason = error.what()});
      entries.erase(entries.begin());
    }
  }
  return {};
}

// The same for the rounds beyond the inputs that were drawn at first: those of a large batch begin
// again, others were drawn as they came. Where the layer cannot tell any more, it told of fewer.
void tell_later_loads(const RunContext& context, const std::vector<std::unique_ptr<Entry>>& entries,
                      const std::vector<LayerMeasurement>& measured, std::vector<Load>& loads) {
  size_t rounds = 0;
  for (const LayerMeasurement& layer : measured) rounds = std::max(rounds, layer.layer_us.size());
  const size_t drawn = loads.size();
  const bool begin_again = context.bench.inputs() < context.measure.min_rounds;
  const auto teller = std::find_if(measured.begin(), measured.begin() + entries.size(),
                                   [](const LayerMeasurement& layer) { return !layer.failure; });
  if (teller == measured.begin() + entries.size()) return;
  const Entry& entry = *entries[static_cast<size_t>(teller - measured.begin())];
  try {
    for (size_t round = drawn; round < rounds; ++round)
      loads.push_back(begin_again ? loads[round % drawn]
                                  : entry.layer->load(entry.choices, static_cast<int>(round)));
  } catch (const AttemptError& error) {
    if (error.device_lost) throw;
  }
  loads.resize(std::min(loads.size(), rounds));
}

// A layer that reads faster than memory does is blamed only once the ceiling was measured again:
// whatever else runs on the machine can only make it look lower than it is.
void doubt(RunContext& context, AttemptRecord& record) {
  const Cache cache = context.measure.cache;
  for (int again = 0; again < 3 && beats_memory(record, cache, context.ledger.sourced_gbs);
       ++again) {
    raise_ceilings(context);
    record.read_gbs = context.ledger.read_gbs;
    record.peak_gflops = context.ledger.peak_gflops;
    record.floor_us = context.ledger.floor_us({record.bytes, record.flops});
  }
  const double median_us = summarize(record.outcome.samples_us).median;
  record.outcome.reason = suspicion(record, cache, context.ledger.sourced_gbs,
                                    context.ledger.store.layers_that_took(median_us, record.id));
  if (record.outcome.reason.empty()) return;
  record.outcome.status = Status::suspect;
  keep_finite(record.outcome.samples_us);
}

// Every entry's, and the first one's once more: the A/A control.
std::vector<LayerMeasurement> measure(const RunContext& context,
                                      const std::vector<std::unique_ptr<Entry>>& entries) {
  std::vector<Contestant> contestants;
  for (const auto& entry : entries) contestants.push_back({entry->layer.get(), entry->choices});
  contestants.push_back(contestants.front());
  const Case& spec = entries.front()->record->spec;
  context.progress.activity(
      fmt::format("measuring {} variants tokens={}", entries.size(), spec.tokens));
  return measure_layers(contestants, context.measure, spec.seed, interrupted);
}

bool is_eligible(const AttemptRecord& record) {
  return record.outcome.status == Status::measured;
}

double median_us(const AttemptRecord& record) {
  return median(record.outcome.samples_us);
}

// The fastest, and what it is compared with: the fastest baseline, or the second where the fastest
// is one.
std::vector<size_t> to_confirm(const std::vector<std::unique_ptr<Entry>>& entries,
                               const std::vector<AttemptRecord>& records) {
  std::vector<size_t> order;
  for (size_t i = 0; i < records.size(); ++i)
    if (is_eligible(records[i])) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return median_us(records[a]) < median_us(records[b]);
  });
  if (order.size() < 2) return order;
  const bool won = entries[order[0]]->record->baseline;
  const auto other = std::find_if(order.begin() + 1, order.end(),
                                  [&](size_t i) { return won || entries[i]->record->baseline; });
  if (other == order.end()) return {order[0]};
  return {order[0], *other};
}

// The fastest of several was lucky, too: what it takes in a process of its own, whose memory lies
// elsewhere, is stored beside what it won with.
void confirm(RunContext& context, const std::vector<std::unique_ptr<Entry>>& entries,
             std::vector<AttemptRecord>& records) {
  constexpr double kMostSeconds = 0.5;  // each, beyond the fewest rounds
  const std::vector<size_t> chosen = to_confirm(entries, records);
  if (chosen.empty()) return;
  const Case& spec = entries[chosen[0]]->record->spec;
  context.progress.activity("confirming " + label(spec));
  std::vector<Contestant> contestants;
  std::vector<std::vector<double>> race;
  for (const size_t i : chosen) {
    contestants.push_back({entries[i]->layer.get(), entries[i]->choices});
    race.push_back(records[i].outcome.samples_us);
  }
  MeasureSpec again = context.measure;
  again.max_seconds = std::min(again.max_seconds, kMostSeconds);
  const Confirmed confirmed = confirm_layers(
      contestants, race, again, spec.seed, [&] { return context.bench.renew(); }, interrupted);
  for (size_t k = 0; k < confirmed.layer_us.size(); ++k) {
    records[chosen[k]].confirm_us = confirmed.layer_us[k];
    records[chosen[k]].confirm_tries = confirmed.tries;
  }
}

}  // namespace

void race_layers(RunContext& context, std::vector<std::unique_ptr<Entry>> entries) {
  std::vector<Load> loads = tell_loads(context, entries);
  if (entries.empty()) return;
  std::vector<AttemptRecord> records;
  for (const auto& entry : entries) {
    AttemptRecord record = layer_attempt(context, entry->record->spec);
    record.id = context.ledger.store.begin_attempt(context.ledger.study, context.ledger.environment,
                                                   record);
    records.push_back(std::move(record));
  }
  const std::vector<LayerMeasurement> measured = measure(context, entries);
  tell_later_loads(context, entries, measured, loads);
  raise_ceilings(context);  // now that the machine is as busy as while the layers ran
  for (size_t i = 0; i < entries.size(); ++i) {
    AttemptRecord& record = records[i];
    if (measured[i].failure) {
      record.outcome = *measured[i].failure;
      continue;
    }
    record = describe(context, *entries[i], measured[i], loads, std::move(record));
    if (i == 0 && !measured.back().failure) record.control_us = measured.back().layer_us;
    doubt(context, record);
  }
  confirm(context, entries, records);
  for (size_t i = 0; i < entries.size(); ++i)
    close_case(context, entries[i]->record->spec, records[i]);
}

}  // namespace fse
