#pragma once
#include <functional>

namespace CLI {
class App;
}

namespace fse {

// `fselab db import` and `fselab db export`: other programs' tables of tuned kernels.
void add_exchange_verbs(CLI::App& db, const std::function<void(std::function<int()>)>& choose);

}  // namespace fse
