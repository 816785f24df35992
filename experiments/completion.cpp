#include "experiments/completion.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>

#include "core/error.h"
#include "core/filter.h"
#include "experiments/paths.h"
#include "kernels/catalog.h"

namespace fse {
namespace {

constexpr const char* kBash = R"sh(# bash completion of fselab: eval "$(fselab completion bash)"
_fselab() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done \
        < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]#=}")
      continue
    fi
    line=${line%%$'\t'*}
    COMPREPLY+=("$line")
    if [[ $line == *= ]]; then compopt -o nospace 2>/dev/null; fi
  done < <("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  return 0
}
complete -F _fselab fselab
)sh";

constexpr const char* kZsh = R"sh(#compdef fselab
# zsh completion of fselab: eval "$(fselab completion zsh)" behind compinit, or this text as _fselab
# in a folder of $fpath.
_fselab() {
  local line files=
  local -a plain about open
  for line in "${(@f)$("${words[1]}" complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
    case $line in
      ('') ;;
      (:files) files=yes ;;
      (*=) open+=("$line") ;;
      (*$'\t'*) plain+=("${line%%$'\t'*}"); about+=("${line/$'\t'/  -- }") ;;
      (*) plain+=("$line"); about+=("$line") ;;
    esac
  done
  (( $#plain )) && compadd -l -d about -a plain
  (( $#open )) && compadd -S '' -a open
  [[ -n $files ]] && _files
  return 0
}
if [[ ${funcstack[1]} == _fselab ]]; then _fselab "$@"; else compdef _fselab fselab; fi
)sh";

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

const CLI::App* subcommand_of(const CLI::App& command, const std::string& name) {
  for (const CLI::App* sub : command.get_subcommands({}))
    if (sub->get_name() == name) return sub;
  return nullptr;
}

bool is_hidden(const CLI::App& command) {
  return command.get_group().empty();
}

// What CLI::IsMember lists: its type name is "TEXT:{md,csv}".
std::vector<std::string> members_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{'), close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return CLI::detail::split(type.substr(open + 1, close - open - 1), ',');
}

bool takes_number(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.starts_with("INT") || type.starts_with("UINT") || type.starts_with("FLOAT");
}

std::vector<std::string> stems(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    if (entry.path().extension() == ".yaml" || entry.path().extension() == ".json")
      names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> names_here(const std::string& argument) {
  try {
    if (argument == "sweep") return stems(configs_dir() / "sweeps");
    if (argument == "--model") return stems(configs_dir() / "models");
  } catch (const Error&) {
    return {};  // fselab's own folder is missing: completion is not the place to say so
  }
  std::vector<std::string> names;
  if (argument == "filter")
    for (const std::string& column : filter_columns()) names.push_back(column + "=");
  if (argument == "kernel")
    for (const KernelDef& kernel : catalog()) names.push_back(kernel.name);
  return names;
}

// Where the parser stands behind the words that are finished.
struct Place {
  const CLI::App* command;
  const CLI::Option* option = nullptr;  // whose value is typed next
  size_t positionals = 0;               // those given
};

std::vector<const CLI::Option*> positionals_of(const CLI::App& command) {
  return command.get_options([](const CLI::Option* o) { return o->get_positional(); });
}

Place place_behind(const CLI::App& app, const std::vector<std::string>& words) {
  Place place{.command = &app};
  int values = 0;  // that the option still takes
  for (const std::string& word : words) {
    if (word.starts_with("-") && word.size() > 1) {
      const std::string name = word.substr(0, word.find('='));
      const CLI::Option* option = place.command->get_option_no_throw(name);
      place.option = option != nullptr && name == word ? option : nullptr;
      values = place.option == nullptr ? 0 : option->get_items_expected_max();
    } else if (values > 0) {
      --values;
    } else if (const CLI::App* next = subcommand_of(*place.command, word)) {
      place = {.command = next};
    } else {
      ++place.positionals;
    }
    if (values == 0) place.option = nullptr;
  }
  return place;
}

// The values of an option or positional.
void add_values(Completion& all, const CLI::Option& option, const ArgumentNames& names) {
  const std::string name = option.get_name(option.get_positional());
  std::vector<std::string> words = members_of(option);
  const std::vector<std::string> more = names(name);
  words.insert(words.end(), more.begin(), more.end());
  // A list of words or a number is not a file; a sweep or a model may be one.
  all.files = (words.empty() && !takes_number(option)) || name == "sweep" || name == "--model";
  for (const std::string& word : words) all.candidates.push_back({word, ""});
}

void add_options(Completion& all, const CLI::App& command) {
  for (const CLI::Option* option : command.get_options())
    for (const std::string& name : option->get_lnames())
      all.candidates.push_back({"--" + name, first_line(option->get_description())});
}

void add_commands(Completion& all, const CLI::App& command) {
  for (const CLI::App* sub : command.get_subcommands({}))
    if (!is_hidden(*sub))
      all.candidates.push_back({sub->get_name(), first_line(sub->get_description())});
}

Completion candidates_at(const Place& place, const std::string& word, const ArgumentNames& names) {
  Completion all;
  if (place.option != nullptr) {
    add_values(all, *place.option, names);
    return all;
  }
  if (word.starts_with("-")) {
    add_options(all, *place.command);
    return all;
  }
  add_commands(all, *place.command);
  const auto positionals = positionals_of(*place.command);
  if (positionals.empty()) return all;
  const bool more = place.positionals < positionals.size();
  const CLI::Option& next = *positionals[more ? place.positionals : positionals.size() - 1];
  if (more || next.get_items_expected_max() > 1) add_values(all, next, names);
  return all;
}

// bash takes "=" for a word of its own: --format = md, model = x. True where the last word is the
// value behind one, which is nothing to complete where no option stands before it.
bool drop_equal_signs(std::vector<std::string>& words) {
  if (words.back() == "=") words.push_back("");
  const size_t n = words.size();
  const bool behind = n > 2 && words[n - 2] == "=" && !words[n - 3].starts_with("-");
  const std::string last = words.back();
  words.pop_back();
  std::erase(words, "=");
  words.push_back(last);
  return behind;
}

}  // namespace

Completion complete(const CLI::App& app, std::vector<std::string> words,
                    const ArgumentNames& names) {
  if (words.empty()) words.emplace_back();
  if (drop_equal_signs(words)) return {};
  std::string word = words.back(), before;
  words.pop_back();
  const size_t equals = word.find('=');
  if (word.starts_with("--") && equals != std::string::npos) {
    before = word.substr(0, equals + 1);
    words.push_back(word.substr(0, equals));
    word.erase(0, equals + 1);
  }
  Completion all = candidates_at(place_behind(app, words), word, names);
  std::erase_if(all.candidates, [&](const auto& c) { return !c.word.starts_with(word); });
  for (auto& candidate : all.candidates) candidate.word = before + candidate.word;
  return all;
}

std::string completion_script(const std::string& shell) {
  return shell == "bash" ? kBash : kZsh;
}

void add_completion(CLI::App& app, std::function<int()>& action) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* script = app.add_subcommand("completion", "What your shell sources to complete fselab");
  script->add_option("shell", *shell, "bash | zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  script->footer(
      "Example: eval \"$(fselab completion bash)\"                      in ~/.bashrc\n"
      "         fselab completion zsh > \"${fpath[1]}/_fselab\"          once, for zsh");
  script->callback([shell, &action] {
    action = [shell] {
      fmt::print("{}", completion_script(*shell));
      return 0;
    };
  });
  const auto words = std::make_shared<std::vector<std::string>>();
  CLI::App* asked = app.add_subcommand("complete", "The candidates for the last of the words");
  asked->group("")->add_option("words", *words);
  asked->callback([&app, words, &action] {
    action = [&app, words] {
      const Completion all = complete(app, *words, names_here);
      for (const auto& [word, about] : all.candidates)
        fmt::print("{}{}{}\n", word, about.empty() ? "" : "\t", about);
      if (all.files) fmt::print(":files\n");
      return 0;
    };
  });
}

}  // namespace fse
