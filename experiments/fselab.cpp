#include "experiments/cli.h"

int main(int argc, char** argv) {
  return fse::run_command(argc, argv);
}
