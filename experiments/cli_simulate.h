#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace fse {

// Adds the subcommand `simulate`; where it is chosen, `action` becomes what it does.
void add_simulate(CLI::App&, std::function<int()>& action);
void add_calibrate(CLI::App&, std::function<int()>& action);  // measures what `simulate` needs

void add_explain(CLI::App&, std::function<int()>& action);  // where a layer's time goes

}  // namespace fse
