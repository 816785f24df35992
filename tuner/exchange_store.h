#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "core/store.h"
#include "tuner/exchange.h"

namespace fse {

// Foreign tables are kept beside fselab's own results and never among them: nothing in them was
// verified here, so nothing in them can win.

// In one transaction; false where a table of this name with this very content is there already.
// Throws Error(usage) where the name is taken by another content.
bool add_foreign(const Store&, const ForeignTable&);
// Throws Error(usage), naming the tables that are there, for one that is not.
ForeignTable foreign_table(const Store&, const std::string& name);
std::vector<std::string> foreign_table_names(const Store&);

}  // namespace fse
