#pragma once
#include <cstddef>
#include <span>
#include <string>

namespace fse {

// A code object's instructions, by the vendor's disassembler. Throws Error(environment) naming what
// was tried where none is installed.
std::string disassemble(std::span<const std::byte> image, const std::string& arch);

}  // namespace fse
