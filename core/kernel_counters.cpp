#include "core/kernel_counters.h"

#include <fmt/format.h>

namespace fse {

namespace {

double share(int64_t part, int64_t of) {
  return of > 0 ? static_cast<double>(part) / static_cast<double>(of) : 0;
}

}  // namespace

double KernelCounters::conflict_share() const {
  return share(lds_conflicts, lds_cycles);
}
double KernelCounters::divergent_share() const {
  return share(divergent_accesses, wave_accesses);
}

std::string to_text(const KernelCounters& c) {
  return fmt::format(
      "loaded={} ({} lines) stored={} ({} lines) lds={} cycles={} conflicts={} matrix={} "
      "divergent={}/{}",
      c.loaded_bytes, c.loaded_lines, c.stored_bytes, c.stored_lines, c.lds_bytes, c.lds_cycles,
      c.lds_conflicts, c.matrix_instructions, c.divergent_accesses, c.wave_accesses);
}

}  // namespace fse
