#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "core/read_file.h"
#include "kernels/emulator/program.h"
#include "tests/temporary_folder.h"

using namespace fse;

// AddressSanitizer's own signals and shadow make a debugger's session another one.
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("what CONTRIBUTING says to gdb, gdb does" * doctest::test_suite("long")) {
  const test::TemporaryFolder folder;
  std::vector<std::string> words{"gdb", "-nx", "-batch", "-ex", "set pagination off"};
  std::ifstream page(std::filesystem::path(FSELAB_SOURCE_DIR) / "CONTRIBUTING.md");
  constexpr std::string_view kPrompt = "(gdb) ";
  for (std::string line; std::getline(page, line);)
    if (line.starts_with(kPrompt)) words.insert(words.end(), {"-ex", line.substr(kPrompt.size())});
  const std::vector<std::string> debugged{"-ex",      "kill",
                                          "--args",   FSELAB_COMMAND,
                                          "verify",   FSELAB_SOURCE_DIR "/tests/golden/qwen3_moe",
                                          "--device", "emu:gfx942"};
  words.insert(words.end(), debugged.begin(), debugged.end());
  if (run_program(words, 1, folder / "out") == 127) {
    MESSAGE("SKIPPED: no gdb here");
    return;
  }
  const std::string out = read_file(folder / "out").value_or("");
  CAPTURE(out);
  const auto has = [&](const std::string& text) { return out.find(text) != std::string::npos; };
  CHECK(has("hit Breakpoint 1, fse::gpu::scan_counts ("));
  CHECK(has("$1 = {thread = "));
  CHECK(has("$2 = 70"));  // the condition held
  CHECK(has(":\t0x"));    // its LDS
  CHECK(has("Breakpoint 2 at "));
}
#endif
