#include "core/kernel_counters.h"

#include <fmt/format.h>

namespace fse {

std::string to_text(const KernelCounters& c) {
  return fmt::format(
      "loaded={} ({} lines) stored={} ({} lines) lds={} cycles={} conflicts={} matrix={} "
      "divergent={}/{}",
      c.loaded_bytes, c.loaded_lines, c.stored_bytes, c.stored_lines, c.lds_bytes, c.lds_cycles,
      c.lds_conflicts, c.matrix_instructions, c.divergent_accesses, c.wave_accesses);
}

}  // namespace fse
