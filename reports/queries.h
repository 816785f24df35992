#pragma once
#include <string>

#include "core/filter.h"
#include "core/store.h"
#include "reports/grid.h"

namespace fse {

// What `fselab db` answers. Columns are documented in reports/columns.cpp and only ever
// added to.
Grid list_studies(const Store&, const Filter&);
Grid list_cases(const Store&, const Filter&);
// The fastest verified layer of every workload: model, dtype, tokens, device and what else it is.
Grid best_layers(const Store&, const Filter&);
// The n fastest verified attempts at that level ("step" or "layer").
Grid top_attempts(const Store&, const Filter&, const std::string& level, int64_t n);
Grid count_failures(const Store&, const Filter&);  // alike ones together, most frequent first
Grid coverage(const Store&, const Filter&);        // what has a number, by model, dtype and variant

// One attempt (a number), case (16 hex digits) or study (a name): a column and a value per row.
Grid show(const Store&, const std::string& id);
// Where an attempt is a layer: its steps, and what the vendor's library took for them, or where it
// is taken, fselab's own kernels.
Grid show_steps(const Store&, const std::string& id);

// What kernels did on emulated devices, the newest first; a filter may name the device, the
// environment, the kernel and the step_key.
Grid list_counters(const Store&, const std::vector<std::string>& conditions);

Grid run_sql(const Store&, const std::string& sql);  // with median() and the like

// What is wrong with the file; no rows where nothing is.
Grid check_store(const Store&);

}  // namespace fse
