#include "kernels/jit.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "kernels/jit_cache.h"

namespace fse {

namespace fs = std::filesystem;

std::vector<DeviceHeader> read_device_headers(const fs::path& folder) {
  std::vector<DeviceHeader> headers;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".h") continue;
    std::ifstream file(entry.path(), std::ios::binary);
    std::ostringstream text;
    text << "\n" << file.rdbuf();  // older hipRTC rejects content that begins without white space
    if (!file) throw Error(ErrorKind::environment, "cannot read " + entry.path().string());
    headers.push_back({"kernels/device/" + entry.path().filename().string(), text.str()});
  }
  if (headers.empty())
    throw Error(
        ErrorKind::environment,
        fmt::format("no device headers (*.h) in {}: expected the sources' kernels/device or "
                    "its installed copy",
                    folder.string()));
  std::sort(headers.begin(), headers.end(),
            [](const DeviceHeader& a, const DeviceHeader& b) { return a.name < b.name; });
  return headers;
}

namespace {

std::string hash128(const std::string& text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

// Lengths make the text unambiguous: no two inputs share it.
void append(std::string& text, const std::string& part) {
  text += fmt::format("{}:{};", part.size(), part);
}

// sm_90a is sm_90 with its own matrix and copy instructions. The code is for this very device, so
// nothing is lost by it.
std::string arch_option(const std::string& arch) {
  if (vendor_of(arch) == Vendor::amd) return "--offload-arch=" + arch;
  const bool specific = arch.size() > 5 || arch.starts_with("sm_9");
  return "--gpu-architecture=" + arch + (specific && arch.back() != 'a' ? "a" : "");
}

std::vector<std::string> all_options(const JitConfig& config, const std::string& arch) {
  std::vector<std::string> options{arch_option(arch), "-std=c++20"};
  if (vendor_of(arch) == Vendor::nvidia) options.push_back("--ptxas-options=-v");  // resources
  options.insert(options.end(), config.options.begin(), config.options.end());
  return options;
}

// One program of the run-time compiler, destroyed with its scope.
class Program {
 public:
  Program(const Rtc& rtc, const std::string& source, const std::vector<DeviceHeader>& headers)
      : rtc_(rtc) {
    std::vector<const char*> contents, names;
    for (const DeviceHeader& h : headers) {
      contents.push_back(h.text.c_str());
      names.push_back(h.name.c_str());
    }
    require(rtc.create(&program_, source.c_str(), "instance.cu", static_cast<int>(names.size()),
                       contents.data(), names.data()),
            "create a program");
  }
  ~Program() {
    if (program_) rtc_.destroy(&program_);
  }
  Program(const Program&) = delete;  // owns a handle
  Program& operator=(const Program&) = delete;

  Rtc::Program get() const { return program_; }
  void require(int status, const char* what) const {
    if (status != 0)
      throw Error(ErrorKind::environment,
                  fmt::format("{} {} cannot {}: {}", rtc_.name, rtc_.version, what,
                              rtc_.error_string(status)));
  }

 private:
  const Rtc& rtc_;
  Rtc::Program program_ = nullptr;
};

std::string log_of(const Rtc& rtc, const Program& program) {
  size_t size = 0;
  program.require(rtc.log_size(program.get(), &size), "give its log's size");
  std::string log(size, '\0');
  if (size > 0) program.require(rtc.log(program.get(), log.data()), "give its log");
  while (!log.empty() && (log.back() == '\0' || log.back() == '\n')) log.pop_back();
  return log;
}

}  // namespace

std::string first_error(const std::string& log) {
  std::istringstream lines(log);
  std::string line;
  while (std::getline(lines, line)) {
    const size_t at = line.find("error: ");
    if (at == std::string::npos) continue;
    const size_t slash = line.substr(0, at).rfind('/');  // "/tmp/comgr-3d358d/include/topk.h:2:1: "
    return slash == std::string::npos ? line : line.substr(slash + 1);
  }
  return log.substr(0, log.find('\n'));
}

Jit::Jit(JitConfig config, std::string arch)
    : config_(std::move(config)),
      arch_(std::move(arch)),
      rtc_(open_rtc(arch_, config_.library_dirs)),
      options_(all_options(config_, arch_)) {
  std::string text;
  append(text, compiler());
  append(text, arch_);
  for (const std::string& option : options_) append(text, option);
  for (const DeviceHeader& header : config_.headers) {
    append(text, header.name);
    append(text, header.text);
  }
  toolchain_hash_ = hash128(text);
}

std::string Jit::key(const JitRequest& request) const {
  std::string text = toolchain_hash_;
  append(text, request.header);
  append(text, request.expression);
  return hash128(text);
}

Compiled Jit::compile(const JitRequest& request) const {
  const JitCache cache(config_.cache_dir);
  const std::string name = key(request);
  if (auto hit = cache.find(name)) return std::move(*hit);
  Compiled result = build(request);
  if (const auto* object = std::get_if<CodeObject>(&result))
    cache.store(name, request.expression, *object);
  return result;
}

Compiled Jit::build(const JitRequest& request) const {
  if (rtc_.thread_safe) return run_compiler(request);
  const std::lock_guard lock(one_at_a_time_);
  return run_compiler(request);
}

Compiled Jit::run_compiler(const JitRequest& request) const {
  const std::string source = fmt::format("\n#include \"kernels/device/{}\"\n", request.header);
  const Program program(rtc_, source, config_.headers);
  const char* expression = request.expression.c_str();
  program.require(rtc_.add_name_expression(program.get(), expression), "take a name expression");
  std::vector<const char*> options;
  for (const std::string& option : options_) options.push_back(option.c_str());
  const int status = rtc_.compile(program.get(), static_cast<int>(options.size()), options.data());
  const std::string log = log_of(rtc_, program);
  if (status != 0)
    return CompileFailed{log.empty() ? rtc_.error_string(status) : first_error(log), log};

  CodeObject object;
  const char* lowered = nullptr;
  if (rtc_.lowered_name(program.get(), expression, &lowered) != 0)
    return CompileFailed{fmt::format("{} names no kernel of {}", expression, request.header), log};
  object.lowered_name = lowered;
  size_t size = 0;
  program.require(rtc_.code_size(program.get(), &size), "give the code's size");
  object.image.resize(size);
  program.require(rtc_.code(program.get(), reinterpret_cast<char*>(object.image.data())),
                  "give the code");
  object.resources = rtc_.vendor == Vendor::nvidia
                         ? resources_from_ptxas(log, object.lowered_name)
                         : resources_from_amd(object.image, object.lowered_name);
  return object;
}

std::vector<Compiled> Jit::compile_all(std::span<const JitRequest> requests, int threads) const {
  std::vector<Compiled> results(requests.size());
  std::vector<std::exception_ptr> failures(requests.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < requests.size(); i = next++) {
      try {
        results[i] = compile(requests[i]);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> team;
    for (int i = 1; i < threads; ++i) team.emplace_back(work);
    work();
  }
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return results;
}

}  // namespace fse
