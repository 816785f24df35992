#pragma once
#include <functional>

namespace CLI {
class App;
}

namespace fse {

// `fselab db VERB`: queries of a database. `choose` receives what to do once the line is parsed.
void add_db_command(CLI::App& app, const std::function<void(std::function<int()>)>& choose);

}  // namespace fse
