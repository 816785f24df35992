#pragma once

struct sqlite3;

namespace fse {

// The aggregates median(x), percentile(x, p), geomean(x), ci_low(x) and ci_high(x) (the ends of the
// median's 95 % order-statistic interval; NULL below six values). NULLs are skipped; what is not a
// number is an error. The loadable extension fselab_sqlite.so gives the sqlite3 shell the same.
int add_sql_functions(sqlite3*);  // an SQLite result code

}  // namespace fse
