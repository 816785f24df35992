#pragma once

namespace fse {

void print_devices();  // what this machine has, best first
void print_kernels();  // the catalogue: one row per kernel

}  // namespace fse
