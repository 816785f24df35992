#include "core/sql_functions.h"

#ifdef FSELAB_SQLITE_EXTENSION
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1
#else
#include <sqlite3.h>
#endif

#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "core/statistics.h"

namespace fse {

namespace {

struct Gathered {
  std::vector<double> values;
  double percent = 50;
};

Gathered** slot(sqlite3_context* context, bool create) {
  return static_cast<Gathered**>(
      sqlite3_aggregate_context(context, create ? sizeof(Gathered*) : 0));
}

// No exception may cross SQLite's C frames.
void gather(sqlite3_context* context, int count, sqlite3_value** arguments) {
  Gathered** all = slot(context, true);
  if (!all) return sqlite3_result_error_nomem(context);
  try {
    if (!*all) *all = new Gathered;
    if (sqlite3_value_type(arguments[0]) == SQLITE_NULL) return;
    const int type = sqlite3_value_numeric_type(arguments[0]);
    if (type != SQLITE_INTEGER && type != SQLITE_FLOAT)
      return sqlite3_result_error(context, "expected a number or NULL", -1);
    if (count == 2) {
      (*all)->percent = sqlite3_value_double(arguments[1]);
      if (!((*all)->percent >= 0 && (*all)->percent <= 100))
        return sqlite3_result_error(context, "percentile: expected p from 0 to 100", -1);
    }
    (*all)->values.push_back(sqlite3_value_double(arguments[0]));
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  }
}

double geomean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v > 0 ? std::log(v) : std::nan("");
  return std::exp(sum / static_cast<double>(values.size()));
}

// Linear between the two values around rank p/100 * (n - 1).
double percentile(std::vector<double> values, double percent) {
  std::sort(values.begin(), values.end());
  const double rank = percent / 100 * static_cast<double>(values.size() - 1);
  const auto below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], rank - static_cast<double>(below));
}

double median_of(const Gathered& g) {
  return median(g.values);
}
double percentile_of(const Gathered& g) {
  return percentile(g.values, g.percent);
}
double geomean_of(const Gathered& g) {
  return geomean(g.values);
}
double low_of(const Gathered& g) {
  return summarize(g.values).lo;
}
double high_of(const Gathered& g) {
  return summarize(g.values).hi;
}

template <double (*Of)(const Gathered&)>
void finish(sqlite3_context* context) {
  Gathered** all = slot(context, false);
  if (!all || !*all) return sqlite3_result_null(context);
  try {
    if ((*all)->values.empty())
      sqlite3_result_null(context);
    else
      sqlite3_result_double(context, Of(**all));  // NaN becomes NULL
  } catch (const std::bad_alloc&) {
    sqlite3_result_error_nomem(context);
  }
  delete *all;
  *all = nullptr;
}

template <double (*Of)(const Gathered&)>
int add(sqlite3* db, const char* name, int arguments) {
  return sqlite3_create_function_v2(db, name, arguments, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
                                    nullptr, nullptr, gather, finish<Of>, nullptr);
}

}  // namespace

int add_sql_functions(sqlite3* db) {
  for (const int result : {add<median_of>(db, "median", 1), add<percentile_of>(db, "percentile", 2),
                           add<geomean_of>(db, "geomean", 1), add<low_of>(db, "ci_low", 1),
                           add<high_of>(db, "ci_high", 1)})
    if (result != SQLITE_OK) return result;
  return SQLITE_OK;
}

}  // namespace fse

#ifdef FSELAB_SQLITE_EXTENSION
// The name SQLite derives from the file's: fselab_sqlite.so without digits and '_'.
extern "C" __attribute__((visibility("default"))) int sqlite3_fselabsqlite_init(
    sqlite3* db, char**, const sqlite3_api_routines* api) {
  SQLITE_EXTENSION_INIT2(api);
  return fse::add_sql_functions(db);
}
#endif
