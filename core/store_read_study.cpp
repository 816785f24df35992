#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/store.h"
#include "core/store_sql.h"

namespace fse {

namespace {

LayerSpec read_layer(SQLite::Statement& q) {
  const auto number = [&](const char* column) { return static_cast<int>(integer(q, column)); };
  LayerSpec l;
  l.model = text(q, "model");
  l.hidden = number("hidden");
  l.intermediate = number("intermediate");
  l.routing = {.experts = number("experts"),
               .top_k = number("top_k"),
               .score = named<ScoreFunction>(q, "score"),
               .selection_bias = number("selection_bias") != 0,
               .groups = number("groups"),
               .groups_kept = number("groups_kept"),
               .group_score = named<GroupScore>(q, "group_score"),
               .renormalize = number("renormalize") != 0,
               .scaling = real(q, "scaling")};
  l.shared = {.count = number("shared_count"),
              .shared_width = number("shared_width"),
              .weight = named<SharedWeight>(q, "shared_weight"),
              .constant = real(q, "shared_constant")};
  l.dtype = named<DType>(q, "dtype");
  l.activations = named<Activations>(q, "activations");
  return l;
}

CaseRecord read_case(SQLite::Statement& q) {
  CaseRecord record;
  record.spec = {
      .layer = read_layer(q),
      .variant = {named<Gate>(q, "variant_gate"), named<Topk>(q, "variant_topk"),
                  named<Shared>(q, "variant_shared"), named<Experts>(q, "variant_experts"),
                  named<Launch>(q, "variant_launch")},
      .tokens = static_cast<int>(integer(q, "tokens")),
      .tp = static_cast<int>(integer(q, "tp")),
      .routing = {named<RoutingKind>(q, "routing_kind"), real(q, "routing_parameter"),
                  text(q, "routing_trace"), text(q, "routing_trace_hash")},
      .cache = named<Cache>(q, "cache"),
      .device = text(q, "device"),
      .seed = static_cast<uint64_t>(integer(q, "seed"))};
  record.baseline = integer(q, "baseline") != 0;
  record.state = named<CaseState>(q, "state");
  record.reason = text(q, "reason");
  return record;
}

Environment read_environment(SQLite::Statement& q) {
  Environment e;
  e.device = {.name = text(q, "device"),
              .kind = text(q, "kind"),
              .arch = text(q, "arch"),
              .product = text(q, "product"),
              .compute_units = static_cast<int>(integer(q, "compute_units")),
              .memory_bytes = integer(q, "memory_bytes"),
              .llc_bytes = integer(q, "llc_bytes"),
              .dtypes = {},
              .graph = integer(q, "graph") != 0,
              .experts_fused = integer(q, "experts_fused") != 0,
              .fp8_activations = integer(q, "fp8_activations") != 0,
              .half_activations = integer(q, "half_activations") != 0,
              .wave = static_cast<int>(integer(q, "wave")),
              .lds_bytes = integer(q, "lds_bytes"),
              .block_threads = static_cast<int>(integer(q, "block_threads")),
              .dependent_launch = integer(q, "dependent_launch") != 0};
  for (const std::string& name :
       nlohmann::json::parse(text(q, "dtypes")).get<std::vector<std::string>>())
    if (const auto dtype = from_name<DType>(name)) e.device.dtypes.push_back(*dtype);
  e.compiler = text(q, "compiler");
  e.git_revision = text(q, "git_revision");
  e.host_os = text(q, "host_os");
  e.read_gbs = real(q, "read_gbs");
  e.peak_gflops = real(q, "peak_gflops");
  return e;
}

}  // namespace

std::vector<CaseRecord> Store::cases(int64_t study) const {
  return guarded(file_, "reading cases", [&] {
    std::vector<CaseRecord> all;
    auto q = query(*db_, "SELECT * FROM layer_case WHERE study = ? ORDER BY ordinal", {study});
    while (q.executeStep()) all.push_back(read_case(q));
    return all;
  });
}

std::vector<Store::StudySummary> Store::studies() const {
  return guarded(file_, "reading studies", [&] {
    std::vector<StudySummary> all;
    auto q = query(*db_, "SELECT * FROM study ORDER BY id", {});
    while (q.executeStep()) all.push_back({integer(q, "id"), text(q, "name"), text(q, "created")});
    return all;
  });
}

namespace {

// A file of an older schema has none.
std::vector<std::string> read_notes(SQLite::Statement& q) {
  if (!has_column(q, "notes")) return {};
  return nlohmann::json::parse(text(q, "notes")).get<std::vector<std::string>>();
}

}  // namespace

StudyRecord Store::study(int64_t id) const {
  return guarded(file_, "reading a study", [&] {
    auto q = query(*db_, "SELECT * FROM study WHERE id = ?", {id});
    if (!q.executeStep()) fail_usage(fmt::format("{}: no study has id {}", file_, id));
    return StudyRecord{.name = text(q, "name"),
                       .yaml_text = text(q, "yaml_text"),
                       .plan_hash = text(q, "plan_hash"),
                       .command = text(q, "command"),
                       .created = text(q, "created"),
                       .notes = read_notes(q)};
  });
}

Environment Store::environment(int64_t id) const {
  return guarded(file_, "reading an environment", [&] {
    auto q = query(*db_, "SELECT * FROM environment WHERE id = ?", {id});
    if (!q.executeStep())
      throw Error(ErrorKind::data, fmt::format("{}: there is no environment {}", file_, id));
    return read_environment(q);
  });
}

std::vector<Environment> Store::environments(int64_t study) const {
  return guarded(file_, "reading environments", [&] {
    std::vector<Environment> all;
    auto q = query(*db_,
                   "SELECT * FROM environment WHERE id IN "
                   "(SELECT environment FROM attempt WHERE study = ?) ORDER BY id",
                   {study});
    while (q.executeStep()) {
      all.push_back(read_environment(q));
      auto rates = query(*db_,
                         "SELECT read_gbs, peak_gflops FROM attempt WHERE study = ? AND "
                         "environment = ? AND read_gbs IS NOT NULL ORDER BY id DESC LIMIT 1",
                         {study, integer(q, "id")});
      if (!rates.executeStep()) continue;
      all.back().read_gbs = real(rates, "read_gbs");
      all.back().peak_gflops = real(rates, "peak_gflops");
    }
    return all;
  });
}

std::vector<Store::AttemptCount> Store::attempt_counts(int64_t study) const {
  return guarded(file_, "counting attempts", [&] {
    std::vector<AttemptCount> all;
    auto q = query(*db_,
                   "SELECT level, status, count(*) AS attempts FROM attempt WHERE study = ? "
                   "GROUP BY level, status ORDER BY level, attempts DESC, status",
                   {study});
    while (q.executeStep())
      all.push_back({text(q, "level"), text(q, "status"), integer(q, "attempts")});
    return all;
  });
}

std::vector<Store::FailureCount> Store::failure_counts(int64_t study) const {
  return guarded(file_, "counting failures", [&] {
    std::vector<FailureCount> all;
    auto q = query(*db_,
                   "SELECT level, kernel, status, CASE WHEN reason <> '' THEN reason ELSE "
                   "coalesce(first_bad, '') END AS why, count(*) AS attempts FROM attempt "
                   "WHERE study = ? AND status <> 'running' AND (status <> 'measured' OR "
                   "verified = 0) GROUP BY level, kernel, status, why "
                   "ORDER BY attempts DESC, level, kernel, status, why",
                   {study});
    while (q.executeStep())
      all.push_back({text(q, "level"), text(q, "kernel"), text(q, "status"), text(q, "why"),
                     integer(q, "attempts")});
    return all;
  });
}

}  // namespace fse
