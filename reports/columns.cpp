#include "reports/columns.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace fse {

namespace {

// One meaning for a name, whichever verb prints it.
constexpr Column kColumns[] = {
    {"study_id", "number of the study in this database"},
    {"study", "name of the study"},
    {"created", "when the study was first run, UTC"},
    {"cases", "how many cases: a layer, a variant, a workload and a device"},
    {"done", "cases with a verified time"},
    {"failed", "cases that ended without one"},
    {"refused", "cases that are not legal or not supported; they never run"},
    {"pending", "cases that wait to be run, or are running"},
    {"attempts", "how many attempts, in whatever way they ended"},
    {"case_id", "id of the case: a hash of all it is"},
    {"model", "preset or config.json of the layer"},
    {"dtype", "of the weights: f32, bf16, f16, fp8_block128"},
    {"activations", "bf16 or fp8"},
    {"tp", "tensor-parallel degree; one rank of it ran"},
    {"tokens", "rows in the batch"},
    {"routing", "how tokens choose experts, as the sweep spells it"},
    {"cache", "cold_weights or warm"},
    {"device", "cpu, hip:0, emu:gfx942, ..."},
    {"product", "the device's own name"},
    {"variant", "gate/topk/shared/experts/launch"},
    {"baseline", "ls: 1 where speed-ups are quoted against the case; diff: selection A"},
    {"state", "pending, done, failed or refused"},
    {"reason", "why it failed, was refused or was not used"},
    {"layer_time_us", "median of a whole layer at its tuned tiles, microseconds"},
    {"time_us", "median of what was measured, microseconds"},
    {"lo_us", "lower end of the median's 95 % interval; empty below 6 samples"},
    {"hi_us", "upper end of it"},
    {"n", "samples"},
    {"x_floor", "time over the floor: its bytes or flops at the measured rates"},
    {"rel_frobenius", "error of the result against the float64 reference"},
    {"bound", "what that error may be"},
    {"attempt", "number of the attempt; `show`, `steps` and `rerun` take it"},
    {"step_key", "the step and its shape"},
    {"workload", "routing, cache and seed"},
    {"step", "the step's name in its plan"},
    {"op", "what it computes"},
    {"kernel", "row of the catalogue (fselab kernels ls)"},
    {"tile", "its tile: axis=value ..."},
    {"bytes", "that the op declares to move"},
    {"flops", "that it declares to do"},
    {"floor_us", "the longer of both at the measured rates, microseconds"},
    {"rival", "the vendor's library in the step's finals, or if it won, the best own kernel; A"},
    {"rival_us", "its median there, microseconds"},
    {"status", "how the attempt ended: measured, illegal, wrong, crashed, ..."},
    {"level", "step or layer"},
    {"why", "its reason, or the first wrong number"},
    {"newest", "number of the newest such attempt"},
    {"tokens_done", "token counts of the cases that are done"},
    {"baseline_us", "median of A, microseconds"},
    {"candidate", "selection B"},
    {"candidate_us", "median of B, microseconds"},
    {"change_percent", "median of B's time over A's, less 1; below 0: B is faster"},
    {"change_lo", "lower end of its 95 % interval, percent"},
    {"change_hi", "upper end of it"},
    {"change_us", "median of the differences, microseconds"},
    {"p_holm", "corrected over all rows; empty where there are no samples to test"},
    {"verdict", "FASTER, SLOWER, SAME, UNDECIDED or INVALID"},
    {"compared_by", "rounds: paired within one race; intervals: apart"},
    {"baseline_rel_frobenius", "rel_frobenius of A"},
    {"baseline_attempt", "attempt of A"},
    {"finding", "what is wrong"},
    {"count", "how often"},
    {"example", "the first row where it is"},
    {"what", "which of the attempt's values"},
    {"recorded", "as its row has it"},
    {"now", "as it is measured now"},
    {"environment", "number of the device, compilers and revision that measured"},
    {"tokens_from", "first token count of the row"},
    {"tokens_to", "last one; a tile's ends where it can no longer run"},
    {"tokens_per_expert_from", "tokens * top_k / experts at which the row begins"},
    {"regret_percent", "worst loss of the row against the fastest, at what it was made from"},
    {"crossover", "between which measured token counts the row begins, and how it was found"},
    {"rows", "how many rows such a table has"},
    {"sampled_percent", "its worst regret at what it was made from"},
    {"held_out_percent", "its worst regret at token counts that it was made without"},
    {"worst_tokens", "the token count of that"},
    {"chosen", "yes: this is the table"},
    {"pairs", "token rows of all experts"},
    {"active_experts", "experts with a token"},
    {"loaded_bytes", "from global memory, by all lanes"},
    {"stored_bytes", "to global memory, by all lanes"},
    {"loaded_lines", "distinct lines of 128 bytes loaded"},
    {"stored_lines", "distinct lines stored"},
    {"lds_cycles", "cycles of LDS accesses by the device's banks"},
    {"lds_conflicts", "of these, more than without two words in one bank"},
    {"matrix_instructions", "of all waves"},
    {"matrix_flops", "what they do, padding included"},
    {"wave_accesses", "loads and stores of waves"},
    {"divergent_accesses", "of these, with lanes that took no part"},
    {"answer", "exact, interpolated, stale or default"},
    {"class", "the same for the step's tile"},
    {"default_percent", "how much longer the layer takes with the default tiles of its steps"},
    {"default_lo", "lower end of that: the steps' own intervals added up, percent"},
    {"default_hi", "upper end of it"},
    {"library_percent",
     "how much longer the fastest layer takes with a vendor's library; empty: not measured"},
    {"aa_percent", "how far the medians of a layer raced against itself differ"},
    {"failures", "tiles that failed, by kind, and layers"},
};

struct Verb {
  std::string_view name, columns;
};
constexpr Verb kVerbs[] = {
    {"ls", "study_id study created cases done failed refused pending attempts"},
    {"ls --cases",
     "case_id study model dtype tp tokens variant baseline state layer_time_us attempts reason"},
    {"best",
     "model dtype activations tp tokens routing cache device product variant layer_time_us lo_us "
     "hi_us n x_floor rel_frobenius bound attempt study"},
    {"top",
     "attempt model dtype tp tokens variant device time_us lo_us hi_us n x_floor rel_frobenius "
     "bound study"},
    {"top --level step",
     "attempt step_key workload kernel tile device time_us lo_us hi_us n x_floor rel_frobenius "
     "bound study"},
    {"failures", "status level kernel why attempts newest"},
    {"coverage", "study model dtype device variant cases done failed refused pending tokens_done"},
    {"diff",
     "baseline baseline_us candidate candidate_us change_percent change_lo change_hi change_us "
     "p_holm verdict compared_by baseline_rel_frobenius rel_frobenius bound baseline_attempt "
     "attempt"},
    {"steps",
     "step op kernel tile time_us lo_us hi_us n bytes flops floor_us rival rival_us change_percent "
     "change_lo change_hi verdict"},
    {"rerun", "what recorded now"},
    {"counters",
     "device step_key workload kernel tile pairs active_experts bytes flops loaded_bytes "
     "stored_bytes loaded_lines stored_lines lds_cycles lds_conflicts matrix_instructions "
     "matrix_flops wave_accesses divergent_accesses finding"},
    {"check", "finding count example"},
    {"tuning",
     "model dtype tp tokens workload variant layer_time_us lo_us hi_us n change_percent change_lo "
     "change_hi default_percent default_lo default_hi library_percent aa_percent attempts failures "
     "environment"},
    {"dispatch",
     "routing tokens_from tokens_to tokens_per_expert_from variant regret_percent crossover"},
    {"dispatch --costs", "routing rows sampled_percent held_out_percent worst_tokens chosen"},
    {"dispatch --tiles",
     "routing tokens_from tokens_to variant step kernel tile regret_percent held_out_percent"},
    {"dispatch --tokens", "answer why tokens routing variant step kernel tile class"},
};

Column column_named(std::string_view name) {
  const auto* at = std::find_if(std::begin(kColumns), std::end(kColumns),
                                [&](const Column& c) { return c.name == name; });
  check(at != std::end(kColumns), "every column has a meaning");
  return *at;
}

}  // namespace

std::vector<Column> columns_of(std::string_view verb) {
  std::vector<Column> all;
  for (const Verb& v : kVerbs) {
    if (v.name != verb) continue;
    for (std::string_view rest = v.columns; !rest.empty();) {
      const size_t end = std::min(rest.find(' '), rest.size());
      all.push_back(column_named(rest.substr(0, end)));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  return all;
}

std::string column_help(std::string_view verb) {
  std::string text = fmt::format("Columns of {}:\n", verb);
  for (const Column& c : columns_of(verb)) text += fmt::format("  {:<23} {}\n", c.name, c.meaning);
  return text;
}

}  // namespace fse
