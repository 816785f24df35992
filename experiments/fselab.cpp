#include <csignal>

#include "experiments/cli.h"

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is a full disk: an error, not the end
  return fse::run_command(argc, argv);
}
