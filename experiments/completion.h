#pragma once
#include <functional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace fse {

// What may stand where the last word of a command line is being typed.
struct Completion {
  struct Candidate {
    std::string word, about;
    bool operator==(const Candidate&) const = default;
  };
  std::vector<Candidate> candidates;
  bool files = false;  // a file's name, too
};

// Names that an argument takes besides those its definition lists: presets for "--model".
using ArgumentNames = std::function<std::vector<std::string>(const std::string& argument)>;

// The words are those behind the command's own name, the last one unfinished or empty. Subcommands,
// options and values come from the parser's definition alone. bash hands over "--format=md" as
// three words, zsh as one; both are understood.
Completion complete(const CLI::App&, std::vector<std::string> words, const ArgumentNames&);

// What a user's shell sources: it asks `fselab complete -- WORDS` at every TAB.
std::string completion_script(const std::string& shell);  // bash | zsh

// `fselab completion SHELL`, and `fselab complete`, which its scripts call.
void add_completion(CLI::App&, std::function<int()>& action);

}  // namespace fse
