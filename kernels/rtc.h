#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/vendor_library.h"

namespace fse {

// A vendor's run-time compiler. hipRTC and NVRTC have the same functions under two prefixes, and
// both work without a GPU: a binary compiles for whichever it finds.
struct Rtc {
  Vendor vendor;
  std::string name;     // "hipRTC" or "NVRTC"
  std::string version;  // "5.2", "13.0": part of every cache key
  VendorLibrary library;
  bool thread_safe;  // hipRTC 5.2 crashed one time in three with three threads

  using Program = void*;
  int (*create)(Program*, const char* source, const char* name, int count,
                const char* const* contents, const char* const* names);
  int (*destroy)(Program*);
  int (*add_name_expression)(Program, const char*);
  int (*compile)(Program, int count, const char* const* options);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*lowered_name)(Program, const char* expression, const char** name);
  int (*code_size)(Program, size_t*);
  int (*code)(Program, char*);
  const char* (*error_string)(int);
};

// Opens the compiler for `arch`, looking in `directories` first and then where the system looks.
// Throws Error(environment) where it is missing (naming what was tried), or where this version of
// it does not know the architecture.
Rtc open_rtc(const std::string& arch, const std::vector<std::filesystem::path>& directories = {});

// Why this version cannot compile for the architecture; "" where it can. hipRTC 5.2 ends the
// process on gfx942 instead of reporting an error, so it is never asked.
std::string unsupported(Vendor, std::string_view version, std::string_view arch);

}  // namespace fse
