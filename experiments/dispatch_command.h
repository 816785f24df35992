#pragma once
#include <functional>

namespace CLI {
class App;
}

namespace fse {

// `fselab db dispatch`: which variant and tiles to run by tokens per expert.
void add_dispatch_verb(CLI::App& db, const std::function<void(std::function<int()>)>& choose);

}  // namespace fse
