#pragma once
#include <CLI/CLI.hpp>
#include <functional>

namespace fse {

// Adds the subcommands `devices` and `kernels`; where one is chosen, `action` becomes what it does.
void add_inventory(CLI::App&, std::function<int()>& action);

}  // namespace fse
