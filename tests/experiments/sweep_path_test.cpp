#include <doctest/doctest.h>

#include "tests/experiments/command.h"

namespace fse::test {

TEST_CASE("a sweep's path may hold '=': only what follows it is an override") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "lr=1");
  write_text(folder / "lr=1/a=b.yaml", "study: s\nmodels: [qwen3-next-80b-a3b]\nbad: 1\n");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"plan"}, {"simulate"}, {"run", "--db", "x.db"}}) {
    CAPTURE(command[0]);
    std::vector<std::string> all = command;
    all.insert(all.begin() + 1, {"lr=1/a=b.yaml", "tokens=[1]"});
    const Result r = fselab(folder.path(), all);
    CHECK(r.exit_code == 2);
    CHECK(r.err.find("lr=1/a=b.yaml:3:1: unknown key 'bad'") != std::string::npos);
    all[1] = "tokens=[4]";
    CHECK(fselab(folder.path(), all).err.find("before KEY=VALUE") != std::string::npos);
  }
}

TEST_CASE("a sweep whose path holds '=' is simulated") {
  const TemporaryFolder folder;
  write_text(folder / "a=b.yaml",
             "study: s\nmodels: [qwen3-next-80b-a3b]\ntokens: [1]\nvariants: {shared: [slot]}\n");
  const Result r = fselab(folder.path(), {"simulate", "a=b.yaml", "device=h100"});
  CHECK(r.exit_code == 0);
  CHECK(r.out.find("separate/unfused/slot") != std::string::npos);
}

}  // namespace fse::test
