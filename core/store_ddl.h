#pragma once
// What the statements that make a database share; nobody else includes it.
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "core/names.h"

namespace fse {

// "CHECK (column IN ('a', 'b'))" over the names of an enum: the code's spelling is the only one.
// A new enumerator therefore needs a new schema version.
template <class E>
std::string one_of(const char* column, const std::string& also = "") {
  std::string list = also;
  for (const auto& entry : kNames<E>)
    list += fmt::format("{}'{}'", list.empty() ? "" : ", ", entry.second);
  return fmt::format("CHECK ({} IN ({}))", column, list);
}

// Of a table whose rows belong to attempts, on an event.
inline constexpr std::string_view closed_check = R"sql(
CREATE TRIGGER {0}_{1} BEFORE {1} ON {0}
WHEN (SELECT status FROM attempt WHERE id = NEW.attempt) <> 'running'
BEGIN SELECT RAISE(ABORT, 'a closed attempt never changes'); END;
)sql";

// The statements that lead from schema version - 1 to `version`, which is above 1.
std::string later_statements(int version);

}  // namespace fse
