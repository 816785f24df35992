#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace fse {

// Exit status of a program; 127 where it cannot be started. What it writes to standard output or
// error goes to a file: `channel` 1 or 2.
int run_program(const std::vector<std::string>& words, int channel, const std::filesystem::path&);

std::filesystem::path temporary_folder();

// "dispatch.h:55", where an instruction of a loaded library comes from: of the functions that were
// inlined there the first that is not merely how gpu.h spells a load. "an unknown line" where
// addr2line, which comes with g++, cannot tell.
std::string source_line(const void* code);

}  // namespace fse
