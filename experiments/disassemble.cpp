#include "experiments/disassemble.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "core/error.h"
#include "kernels/rtc.h"

namespace fse {
namespace {

// A file with the image for as long as the disassembler reads it.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::span<const std::byte> content)
      : name_((std::filesystem::temp_directory_path() / "fselab.XXXXXX").string()) {
    const int fd = ::mkstemp(name_.data());
    const auto size = static_cast<ssize_t>(content.size());
    const bool written = fd >= 0 && ::write(fd, content.data(), content.size()) == size;
    if (fd >= 0) ::close(fd);
    if (!written) throw Error(ErrorKind::environment, "cannot write " + name_);
  }
  ~TemporaryFile() { ::unlink(name_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;  // the file is removed once
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
  std::string text;
  char buffer[4096];
  while (pipe) {
    const size_t n = std::fread(buffer, 1, sizeof buffer, pipe.get());
    if (n == 0) break;
    text.append(buffer, n);
  }
  return text;
}

}  // namespace

std::string disassemble(std::span<const std::byte> image, const std::string& arch) {
  const std::vector<std::string> commands =
      vendor_of(arch) == Vendor::nvidia
          ? std::vector<std::string>{"nvdisasm -c", "/usr/local/cuda/bin/nvdisasm -c"}
          : std::vector<std::string>{"/opt/rocm/llvm/bin/llvm-objdump -d", "llvm-objdump -d",
                                     "llvm-objdump-19 -d", "llvm-objdump-15 -d"};
  const TemporaryFile file(image);
  for (const std::string& command : commands) {
    const std::string cpu = vendor_of(arch) == Vendor::amd ? " --mcpu=" + arch : "";
    std::string text = output_of(fmt::format("{}{} {} 2>/dev/null", command, cpu, file.name()));
    if (!text.empty()) return text;
  }
  throw Error(ErrorKind::environment,
              fmt::format("no disassembler for {}: tried {}", arch, fmt::join(commands, ", ")));
}

}  // namespace fse
