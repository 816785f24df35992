#pragma once
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace fse {

// "2%" or "2": 0.02. Error(usage).
double read_regret(const std::string&);

// `fselab db dispatch`: which variant and tiles to run by tokens per expert.
void add_dispatch_verb(CLI::App& db, const std::function<void(std::function<int()>)>& choose);

}  // namespace fse
