#include "experiments/completion.h"

#include <doctest/doctest.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "tests/experiments/command.h"

namespace fse::test {
namespace {

// The candidates joined by spaces, ":files" behind them where a file may stand.
std::string joined(const Completion& all) {
  std::string text;
  for (const auto& c : all.candidates) text += (text.empty() ? "" : " ") + c.word;
  return text + (all.files ? " :files" : "");
}

struct Small {
  CLI::App app{"", "small"};
  std::string format, file, name;
  std::vector<std::string> rest;
  int n = 0;
  bool quiet = false;
  Small() {
    CLI::App* show = app.add_subcommand("show", "Shows\nat length");
    show->add_option("--format", format, "How")->check(CLI::IsMember({"md", "csv", "json"}));
    show->add_option("--out", file, "Where");
    show->add_option("--count", n, "How many");
    show->add_flag("--quiet", quiet, "Less");
    show->add_option("sweep", name);
    show->add_option("filter", rest);
    app.add_subcommand("shut", "Shuts");
    app.add_subcommand("shadow", "")->group("");
  }
  std::string of(const std::vector<std::string>& words) const {
    return joined(complete(app, words, [](const std::string& argument) {
      return argument == "sweep"    ? std::vector<std::string>{"quick", "slow"}
             : argument == "filter" ? std::vector<std::string>{"model=", "tokens="}
                                    : std::vector<std::string>{};
    }));
  }
};

TEST_CASE("what may follow comes from the parser's definition") {
  const Small s;
  CHECK(s.of({""}) == "show shut");
  CHECK(s.of({"sho"}) == "show");
  CHECK(s.of({}) == "show shut");
  CHECK(s.of({"no", "such"}).empty());
  CHECK(s.of({"show", "--"}) == "--help --format --out --count --quiet");
  CHECK(s.of({"show", "--f"}) == "--format");
  CHECK(s.of({"show", "--format", ""}) == "md csv json");
  CHECK(s.of({"show", "--format=c"}) == "--format=csv");  // as zsh hands it over
  CHECK(s.of({"show", "--format", "=", "c"}) == "csv");   // as bash does
  CHECK(s.of({"show", "--format", "="}) == "md csv json");
  CHECK(s.of({"show", "--out", ""}) == " :files");
  CHECK(s.of({"show", "--count", ""}).empty());
  CHECK(s.of({"show", "--quiet", ""}) == "quick slow :files");  // a flag takes no value
  CHECK(s.of({"show", "--format", "md", "q"}) == "quick :files");
  CHECK(s.of({"show", "quick", ""}) == "model= tokens=");
  CHECK(s.of({"show", "quick", "model", "=", "x", "t"}) == "tokens=");
  CHECK(s.of({"show", "quick", "model", "=", "t"}).empty());  // a value, not a column
  const Completion described =
      complete(s.app, {"show"}, [](const auto&) { return std::vector<std::string>{}; });
  CHECK(described.candidates == std::vector<Completion::Candidate>{{"show", "Shows"}});
}

// What a shell makes of a script: one line per completed word.
std::string answer_of(const TemporaryFolder& folder, const std::string& shell,
                      const std::string& script) {
  write_text(folder / "ask", script);
  const std::string line = "cd '" + folder.path().string() + "' && PATH='" +
                           std::filesystem::path(FSELAB_COMMAND).parent_path().string() +
                           "':$PATH " + shell + " ask > out 2> err < /dev/null";
  const int status = std::system(line.c_str());
  CAPTURE(read_text(folder / "err"));
  CHECK(status == 0);
  CHECK(read_text(folder / "err").empty());
  return read_text(folder / "out");
}

// Completes `words` in bash as readline would: the words in COMP_WORDS, the last unfinished.
std::string in_bash(const TemporaryFolder& folder, const std::string& words) {
  return answer_of(folder, "bash --norc",
                   "eval \"$(fselab completion bash)\"\ncomplete -p fselab > /dev/null\n"
                   "COMP_WORDS=(fselab " +
                       words +
                       ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
                       "_fselab\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n");
}

// Completes them in zsh, whose own compadd and _files only work while a line is edited.
std::string in_zsh(const TemporaryFolder& folder, const std::string& words) {
  return answer_of(folder, "zsh -f",
                   "compdef() { [[ $1 == _fselab && $2 == fselab ]] || print bad }\n"
                   "eval \"$(fselab completion zsh)\"\n"
                   "compadd() { print -rl -- \"${(@P)@[-1]}\" }\n_files() { print -l -- * }\n"
                   "words=(fselab " +
                       words + ")\nCURRENT=$#words\n_fselab\n");
}

TEST_CASE("bash and zsh complete commands, verbs, options, values, sweeps, columns and files") {
  const TemporaryFolder folder;
  write_text(folder / "my results.db", "");
  struct Question {
    std::string words;
    std::vector<std::string> with, without;
  };
  const std::vector<Question> questions{
      {"''", {"run", "plan", "db", "report", "completion"}, {"complete", "best"}},
      {"db ''", {"best", "rerun", "migrate", "merge"}, {"report"}},
      {"db best --", {"--db", "--json", "--csv", "--md", "--help"}, {"--level"}},
      {"db best tok", {"tokens="}, {"model="}},
      {"db best --db m", {"my results.db"}, {"migrate"}},
      {"db top 5 --level ''", {"layer", "step"}, {"model="}},
      {"db t", {"top"}, {"rerun"}},
      {"report --format ''", {"md", "csv", "json", "html"}, {}},
      {"plan q", {"quickstart"}, {"serving"}},
      {"capabilities --model glm", {"glm-4.7"}, {"deepseek-v3"}},
      {"kernels show cpu.top", {"cpu.topk"}, {}},
      {"completion ''", {"bash", "zsh"}, {"fish"}},
  };
  const bool zsh = std::system("zsh -f -c true > /dev/null 2>&1") == 0;
  if (!zsh) MESSAGE("skipped: no zsh here; bash only");
  for (const auto& [words, with, without] : questions)
    for (const std::string shell : {"bash", "zsh"}) {
      if (shell == "zsh" && !zsh) continue;
      CAPTURE(words);
      CAPTURE(shell);
      const auto found = lines_of(shell == "bash" ? in_bash(folder, words) : in_zsh(folder, words));
      CAPTURE(found);
      for (const std::string& word : with) CHECK(std::count(found.begin(), found.end(), word) == 1);
      for (const std::string& word : without)
        CHECK(std::count(found.begin(), found.end(), word) == 0);
    }
  CHECK(lines_of(in_bash(folder, "report --format = h")) == std::vector<std::string>{"html"});
  if (zsh)
    CHECK(lines_of(in_zsh(folder, "report --format=h")) ==
          std::vector<std::string>{"--format=html"});
}

TEST_CASE("completion of an unknown shell, and of hostile words") {
  const TemporaryFolder folder;
  CHECK(fselab(folder.path(), {"completion", "fish"}).exit_code == 2);
  CHECK(fselab(folder.path(), {"completion"}).exit_code == 2);
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"db", "\xff\n;rm", ""}, {"=", "=", "="}, {"--", "--"}, {"--=x"}, {"-"}, {"="}}) {
    std::vector<std::string> all{"complete", "--"};
    all.insert(all.end(), words.begin(), words.end());
    const Result r = fselab(folder.path(), all);
    CHECK(r.exit_code == 0);
    CHECK(r.err.empty());
  }
}

}  // namespace
}  // namespace fse::test
