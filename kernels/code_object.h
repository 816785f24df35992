#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fse {

// What the compiler reports that one instance needs, per thread or (lds_bytes) per block.
struct Resources {
  int registers = 0;         // AMD: vector registers, accumulation registers included
  int scalar_registers = 0;  // AMD only
  int lds_bytes = 0;         // static; what a launch adds is the catalogue's
  int stack_bytes = 0;       // private memory per thread, spills included
  int spill_bytes = 0;       // 0 is what a good tile has
  bool operator==(const Resources&) const = default;
};

std::string to_text(const Resources&);  // "registers=40 lds=1024 stack=0 spill=0"

// `kernel` is the lowered name of one instance.
// From `ptxas -v` output, which NVRTC puts into its log; nothing but zeros where it is not there.
Resources resources_from_ptxas(std::string_view log, const std::string& kernel);
// From the metadata note of an AMD code object, plain or the first in an offload bundle. Throws
// Error(data) where the image is not such a code object.
Resources resources_from_amd(std::span<const std::byte> image, const std::string& kernel);

}  // namespace fse
