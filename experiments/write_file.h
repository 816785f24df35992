#pragma once
#include <filesystem>
#include <string>

namespace fse {

// All of the text or none of it: a file that was there stays whole until the new one is. What is no
// regular file (a pipe, /dev/stdout) is written in place. Error(environment) with the system's
// reason.
void write_file(const std::filesystem::path&, const std::string& text);

}  // namespace fse
