#include <nlohmann/json.hpp>

#include "core/store.h"
#include "core/store_sql.h"

namespace fse {

namespace {

struct Counter {
  const char* column;
  int64_t KernelCounters::*value;
};
constexpr Counter kCounters[] = {
    {"loaded_bytes", &KernelCounters::loaded_bytes},
    {"stored_bytes", &KernelCounters::stored_bytes},
    {"loaded_lines", &KernelCounters::loaded_lines},
    {"stored_lines", &KernelCounters::stored_lines},
    {"lds_bytes", &KernelCounters::lds_bytes},
    {"lds_cycles", &KernelCounters::lds_cycles},
    {"lds_conflicts", &KernelCounters::lds_conflicts},
    {"matrix_instructions", &KernelCounters::matrix_instructions},
    {"wave_accesses", &KernelCounters::wave_accesses},
    {"divergent_accesses", &KernelCounters::divergent_accesses},
};

// {"gate_up": [bytes loaded, lines loaded, bytes stored, lines stored], ...}, of those touched.
std::string buffers_json(const std::vector<BufferTraffic>& buffers) {
  nlohmann::ordered_json all = nlohmann::ordered_json::object();
  for (const BufferTraffic& b : buffers)
    if (b.loaded_bytes + b.stored_bytes > 0)
      all[b.name] = {b.loaded_bytes, b.loaded_lines, b.stored_bytes, b.stored_lines};
  return all.dump();
}

std::vector<BufferTraffic> buffers_of(const std::string& json) {
  std::vector<BufferTraffic> all;
  const auto parsed = nlohmann::ordered_json::parse(json);
  for (const auto& [name, v] : parsed.items())
    all.push_back({.name = name,
                   .loaded_bytes = v.at(0),
                   .stored_bytes = v.at(2),
                   .loaded_lines = v.at(1),
                   .stored_lines = v.at(3)});
  return all;
}

CountRecord read_count(SQLite::Statement& q) {
  CountRecord r{.step_key = text(q, "step_key"),
                .workload = text(q, "workload"),
                .op = text(q, "op"),
                .kernel = text(q, "kernel"),
                .tile = tile_from_text(text(q, "tile")),
                .pairs = integer(q, "pairs"),
                .active_experts = integer(q, "active_experts"),
                .bytes = real(q, "bytes"),
                .flops = real(q, "flops"),
                .counters = {},
                .finding = text(q, "finding")};
  for (const Counter& counter : kCounters) r.counters.*counter.value = integer(q, counter.column);
  r.counters.matrix_flops = real(q, "matrix_flops");
  r.counters.buffers = buffers_of(text(q, "buffers"));
  return r;
}

}  // namespace

// What kernels did in an emulator, which no device has to be measured for.
std::string count_table() {
  return R"sql(
CREATE TABLE kernel_count (
  environment INTEGER NOT NULL REFERENCES environment (id),
  step_key TEXT NOT NULL,
  workload TEXT NOT NULL,          -- what the tokens were
  op TEXT NOT NULL,
  kernel TEXT NOT NULL,
  tile TEXT NOT NULL,
  counted TEXT NOT NULL,
  pairs INTEGER NOT NULL,          -- token rows of all experts
  active_experts INTEGER NOT NULL,
  bytes REAL NOT NULL,             -- these two: as the op declares
  flops REAL NOT NULL,
  loaded_bytes INTEGER NOT NULL,   -- global memory, all lanes
  stored_bytes INTEGER NOT NULL,
  loaded_lines INTEGER NOT NULL,   -- distinct lines of 128 bytes
  stored_lines INTEGER NOT NULL,
  lds_bytes INTEGER NOT NULL,
  lds_cycles INTEGER NOT NULL,     -- by the device's banks
  lds_conflicts INTEGER NOT NULL,  -- cycles more than without any two words in one bank
  matrix_instructions INTEGER NOT NULL,
  matrix_flops REAL NOT NULL,
  wave_accesses INTEGER NOT NULL,
  divergent_accesses INTEGER NOT NULL,  -- some lanes took no part
  buffers TEXT NOT NULL CHECK (json_valid(buffers)),  -- bytes, lines loaded, the same stored
  finding TEXT NOT NULL,           -- in what it is not as declared
  PRIMARY KEY (environment, step_key, workload, kernel, tile)
) STRICT;
)sql";
}

void Store::add_count(int64_t environment, const CountRecord& r) {
  guarded(file_, "adding counters", [&] {
    Row row = {{"environment", environment},
               {"step_key", r.step_key},
               {"workload", r.workload},
               {"op", r.op},
               {"kernel", r.kernel},
               {"tile", to_text(r.tile)},
               {"counted", utc_now()},
               {"pairs", r.pairs},
               {"active_experts", r.active_experts},
               {"bytes", r.bytes},
               {"flops", r.flops},
               {"matrix_flops", r.counters.matrix_flops},
               {"buffers", buffers_json(r.counters.buffers)},
               {"finding", r.finding}};
    for (const Counter& counter : kCounters)
      row.emplace_back(counter.column, r.counters.*counter.value);
    SQLite::Transaction transaction(*db_, SQLite::TransactionBehavior::IMMEDIATE);
    query(*db_,
          "DELETE FROM kernel_count WHERE (environment, step_key, workload, kernel, tile) = "
          "(?, ?, ?, ?, ?)",
          {environment, r.step_key, r.workload, r.kernel, to_text(r.tile)})
        .exec();
    insert(*db_, "kernel_count", row);
    transaction.commit();
  });
}

std::vector<CountRecord> Store::counts(const std::string& step_key, const std::string& kernel,
                                       const Tile& tile, const std::string& arch) const {
  return guarded(file_, "reading counters", [&] {
    std::vector<CountRecord> all;
    if (!db_->tableExists("kernel_count")) return all;  // before version 8
    auto q = query(*db_,
                   "SELECT k.* FROM kernel_count k JOIN environment e ON e.id = k.environment "
                   "WHERE k.step_key = ? AND k.kernel = ? AND k.tile = ? AND ? IN ('', e.arch) "
                   "ORDER BY k.counted DESC",
                   {step_key, kernel, to_text(tile), arch});
    while (q.executeStep()) all.push_back(read_count(q));
    return all;
  });
}

}  // namespace fse
