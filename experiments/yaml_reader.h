#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/names.h"
#include "experiments/yaml_tree.h"

// Strict, typed reading. Every function takes the key's dotted name ("tune.budget") for messages
// and throws Error(usage) "WHERE: KEY is ..., expected ..." for anything but what it reads.
namespace fse {

[[noreturn]] void fail_value(const YamlNode&, const std::string& key, const std::string& expected);

// A map that is not empty and has no key but `allowed`.
void require_map(const YamlNode&, const std::string& key, const std::vector<std::string>& allowed);

// The elements of a list that is not empty; a value that is no list is its own only element. A call
// such as pow2(1, 64), which YAML cuts at its commas inside [], is put together again.
std::vector<YamlNode> read_list(const YamlNode&, const std::string& key);

// name(a, b): a call of one of the functions a list understands.
struct Call {
  std::string name;
  std::vector<std::string> arguments;
};
std::optional<Call> parse_call(const std::string& text);

std::string read_text(const YamlNode&, const std::string& key, const std::string& expected);
int64_t read_integer(const YamlNode&, const std::string& key, int64_t lowest, int64_t highest);

// Whole numbers, pow2(first, last), range(first, last, step); in the order written, once each.
std::vector<int> read_integers(const YamlNode&, const std::string& key, int lowest, int highest);

// Whole texts as numbers; nothing for anything else.
std::optional<int64_t> parse_integer(const std::string& text);
std::optional<double> parse_number(const std::string& text);

template <class E>
std::vector<std::string> names_of() {
  std::vector<std::string> names;
  for (const auto& entry : kNames<E>) names.emplace_back(entry.second);
  return names;
}

std::string read_choice(const YamlNode&, const std::string& key,
                        const std::vector<std::string>& choices);

template <class E>
E read_name(const YamlNode& node, const std::string& key) {
  return *from_name<E>(read_choice(node, key, names_of<E>()));
}

template <class E>
std::vector<E> read_names(const YamlNode& node, const std::string& key) {
  std::vector<E> values;
  for (const YamlNode& item : read_list(node, key)) values.push_back(read_name<E>(item, key));
  return values;
}

}  // namespace fse
