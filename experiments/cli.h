#pragma once

namespace fse {

// The whole command. Prints every error once, on stderr, and returns the exit code: 0 fine, 1 a
// verdict or gate failed, 2 usage or configuration, 3 environment, 4 incomplete, 5 damaged data.
int run_command(int argc, char** argv);

}  // namespace fse
