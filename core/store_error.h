#pragma once
#include <SQLiteCpp/Exception.h>

#include <string>
#include <string_view>

namespace fse {

// Always throws: the SQLite error as one of ours, with the file and what was being done.
[[noreturn]] void throw_store_error(const SQLite::Exception&, const std::string& file,
                                    std::string_view doing);

}  // namespace fse
