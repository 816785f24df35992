#include "kernels/rtc.h"

#include <fmt/format.h>

#include <array>
#include <cstdlib>

#include "core/error.h"

namespace fse {

namespace {

namespace fs = std::filesystem;

// hipRTC is its own library since ROCm 5.4 or so; before, its functions are the HIP runtime's.
constexpr std::array<std::string_view, 7> kAmdLibraries{
    "libhiprtc.so.7",   "libhiprtc.so.6",   "libhiprtc.so",  "libamdhip64.so.7",
    "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"};
constexpr std::array<std::string_view, 3> kNvidiaLibraries{"libnvrtc.so.13", "libnvrtc.so.12",
                                                           "libnvrtc.so"};

template <class F>
void load(const Rtc& rtc, const char* suffix, F& function) {
  rtc.library.require((rtc.vendor == Vendor::amd ? "hiprtc" : "nvrtc") + std::string(suffix),
                      function);
}

void load_functions(Rtc& rtc) {
  const bool amd = rtc.vendor == Vendor::amd;
  load(rtc, "CreateProgram", rtc.create);
  load(rtc, "DestroyProgram", rtc.destroy);
  load(rtc, "AddNameExpression", rtc.add_name_expression);
  load(rtc, "CompileProgram", rtc.compile);
  load(rtc, "GetProgramLogSize", rtc.log_size);
  load(rtc, "GetProgramLog", rtc.log);
  load(rtc, "GetLoweredName", rtc.lowered_name);
  load(rtc, amd ? "GetCodeSize" : "GetCUBINSize", rtc.code_size);
  load(rtc, amd ? "GetCode" : "GetCUBIN", rtc.code);
  load(rtc, "GetErrorString", rtc.error_string);
}

// hiprtcVersion answers 9.0 whatever the release, so AMD's version is the HIP runtime's where that
// is the same library, e.g. 50221153 -> "5.2.21153".
std::string query_version(const Rtc& rtc) {
  using HipVersion = int (*)(int*);
  int major = 0, minor = 0, packed = 0;
  if (const auto hip = reinterpret_cast<HipVersion>(rtc.library.find("hipRuntimeGetVersion"));
      hip && hip(&packed) == 0)
    return fmt::format("{}.{}.{}", packed / 10'000'000, packed / 100'000 % 100, packed % 100'000);
  int (*version)(int*, int*) = nullptr;
  load(rtc, "Version", version);
  version(&major, &minor);
  return fmt::format("{}.{}", major, minor);
}

std::pair<int, int> major_minor(std::string_view version) {
  const std::string text(version);
  char* end = nullptr;
  const long major = std::strtol(text.c_str(), &end, 10);
  const long minor = *end == '.' ? std::strtol(end + 1, nullptr, 10) : 0;
  return {static_cast<int>(major), static_cast<int>(minor)};
}

}  // namespace

std::string unsupported(Vendor vendor, std::string_view version, std::string_view arch) {
  // The first release that compiles for it. What is not listed is old enough for every release.
  struct Since {
    Vendor vendor;
    std::string_view arch;
    std::pair<int, int> release;
  };
  constexpr std::array<Since, 9> kSince{{{Vendor::amd, "gfx940", {6, 0}},
                                         {Vendor::amd, "gfx941", {6, 0}},
                                         {Vendor::amd, "gfx942", {6, 0}},
                                         {Vendor::amd, "gfx950", {7, 0}},
                                         {Vendor::amd, "gfx11", {5, 5}},
                                         {Vendor::amd, "gfx12", {6, 3}},
                                         {Vendor::nvidia, "sm_90", {12, 0}},
                                         {Vendor::nvidia, "sm_10", {12, 8}},
                                         {Vendor::nvidia, "sm_12", {12, 8}}}};
  for (const Since& since : kSince)
    if (since.vendor == vendor && arch.starts_with(since.arch) &&
        major_minor(version) < since.release)
      return fmt::format("{} {} cannot compile for {}, expected {}.{} or later",
                         vendor == Vendor::amd ? "hipRTC" : "NVRTC", version, arch,
                         since.release.first, since.release.second);
  return "";
}

Rtc open_rtc(const std::string& arch, const std::vector<fs::path>& directories) {
  Rtc rtc{};
  rtc.vendor = vendor_of(arch);
  rtc.name = rtc.vendor == Vendor::amd ? "hipRTC" : "NVRTC";
  const bool amd = rtc.vendor == Vendor::amd;
  const std::span<const std::string_view> names =
      amd ? std::span<const std::string_view>(kAmdLibraries) : kNvidiaLibraries;
  rtc.library = open_vendor_library(rtc.name, arch, names, directories);
  load_functions(rtc);
  rtc.version = query_version(rtc);
  rtc.thread_safe = rtc.vendor == Vendor::nvidia || major_minor(rtc.version) >= std::pair(6, 0);
  if (const std::string why = unsupported(rtc.vendor, rtc.version, arch); !why.empty())
    throw Error(ErrorKind::environment, why);
  return rtc;
}

}  // namespace fse
