#include "kernels/emulator/instances.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "core/outcome.h"
#include "core/read_file.h"
#include "kernels/emulator/program.h"
#include "kernels/gpu/layer.h"

namespace fse {

namespace fs = std::filesystem;

namespace {

std::string hash128(const std::string& text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string source_of(const std::vector<JitRequest>& requests) {
  std::set<std::string> headers;
  for (const JitRequest& request : requests) headers.insert(request.header);
  std::string source = "#include \"kernels/device/watch.h\"\n";
  for (const std::string& header : headers)
    source += fmt::format("#include \"kernels/device/{}\"\n", header);
  for (size_t i = 0; i < requests.size(); ++i)
    source += fmt::format(
        "extern \"C\" __attribute__((visibility(\"default\"))) void fse_run_{}(\n"
        "    fse::gpu::host::Machine* machine, const fse::gpu::Args* args) {{\n"
        "  fse::gpu::host::set_machine(machine);\n  {}(*args);\n}}\n",
        i, requests[i].expression);
  return source;
}

}  // namespace

HostInstances::HostInstances(const BackendConfig& config, const std::string& arch)
    : root_(fs::absolute(config.device_dir).parent_path().parent_path()),
      cache_dir_(config.cache_dir),
      temporary_(config.cache_dir.empty()),
      // Contraction would round once where the device rounds twice; -g gives gdb its lines and
      // values.
      options_{FSELAB_HOST_COMPILER,
               "-std=gnu++20",
               "-O1",
               "-g",
               "-fPIC",
               "-shared",
               "-fsanitize=thread",  // the calls of watch.h, and not the library it is made for
               "-nodefaultlibs",
               "-w",
               "-ffp-contract=off",
               "-fno-gnu-unique",
               "-fvisibility=hidden",
               fmt::format("-DFSE_HOST_WAVE={}", typical_gpu(arch).wave),
               "-DFSE_HOST_GFX=0" + (arch.starts_with("gfx") ? "x" + arch.substr(3) : "")} {
  // Without calls at the ends of functions: an exception could not leave them.
  if (compiler().starts_with("Clang"))
    options_.insert(options_.end(), {"-mllvm", "-tsan-instrument-func-entry-exit=0"});
  else
    options_.push_back("--param=tsan-instrument-func-entry-exit=0");
  std::string text = compiler();
  for (const std::string& option : options_) text += fmt::format("{}:{};", option.size(), option);
  for (const DeviceHeader& header : read_device_headers(config.device_dir))
    text += fmt::format("{}:{};{}:{};", header.name.size(), header.name, header.text.size(),
                        header.text);
  toolchain_hash_ = hash128(text);
}

std::string HostInstances::compiler() const {
  return FSELAB_HOST_COMPILER_NAME;
}

fs::path HostInstances::compile(const std::string& source) const {
  const std::string key = "emulator-" + hash128(toolchain_hash_ + source);
  const fs::path kept = cache_dir_ / (key + ".so");
  if (!temporary_ && fs::exists(kept)) return kept;
  const fs::path work = temporary_folder();
  const fs::path input = work / "instances.cpp", log = work / "log", output = work / "instances.so";
  std::ofstream(input) << source;
  std::vector<std::string> words = options_;
  words.insert(words.end(), {"-I", root_.string(), input.string(), "-o", output.string(),
                             "-lstdc++", "-lm", "-lc", "-lgcc_s"});
  const int status = run_program(words, 2, log);
  const std::string messages = read_file(log).value_or("");
  if (status != 0) {
    fs::remove_all(work);
    if (status == 127)
      throw Error(ErrorKind::environment,
                  fmt::format("the emulator needs a C++ compiler, and {} cannot be started",
                              FSELAB_HOST_COMPILER));
    throw AttemptError(Status::compile_failed, first_error(messages));
  }
  if (temporary_) return output;
  std::error_code error;  // the cache is advisory: what cannot be kept is used where it is
  fs::create_directories(cache_dir_, error);
  const fs::path next = cache_dir_ / fmt::format("{}.{}", key, work.filename().string());
  fs::copy_file(output, next, error);
  if (!error) fs::rename(next, kept, error);
  if (error) return output;
  fs::remove_all(work);
  return kept;
}

void HostInstances::prepare(const std::vector<JitRequest>& requests) {
  std::vector<JitRequest> wanted;
  for (const JitRequest& request : requests)
    if (!loaded_.contains(request.expression) &&
        std::find(wanted.begin(), wanted.end(), request) == wanted.end())
      wanted.push_back(request);
  if (wanted.empty()) return;
  const fs::path file = compile(source_of(wanted));
  // What is not kept stays as long as it is loaded: errors look up its lines.
  const fs::path folder = file.parent_path() != cache_dir_ ? file.parent_path() : fs::path();
  const std::shared_ptr<void> library(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL),
                                      [folder](void* handle) {
                                        if (handle) dlclose(handle);
                                        std::error_code ignored;
                                        if (!folder.empty()) fs::remove_all(folder, ignored);
                                      });
  if (!library) throw Error(ErrorKind::environment, fmt::format("cannot load {}", dlerror()));
  for (size_t i = 0; i < wanted.size(); ++i) {
    const auto run =
        reinterpret_cast<Run>(dlsym(library.get(), fmt::format("fse_run_{}", i).c_str()));
    check(run != nullptr, "a compiled instance is in its library");
    loaded_.emplace(wanted[i].expression, run);
  }
  libraries_.push_back(library);
}

HostInstances::Run HostInstances::find(const std::string& expression) const {
  return loaded_.at(expression);
}

}  // namespace fse
