#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace fse {

// The one spelling of every enumerator: YAML, database, command line and report all use it.
// Specialise `kNames<E>` beside the enum; to_name() and from_name() follow.
template <class E>
inline constexpr int kNames = 0;

template <class E>
std::string to_name(E value) {
  for (const auto& [v, name] : kNames<E>)
    if (v == value) return std::string(name);
  return "?";
}

template <class E>
std::optional<E> from_name(std::string_view text) {
  for (const auto& [v, name] : kNames<E>)
    if (name == text) return v;
  return std::nullopt;
}

// "separate, fused": for error messages that say what was expected.
template <class E>
std::string all_names() {
  std::string list;
  for (const auto& entry : kNames<E>)
    list += (list.empty() ? "" : ", ") + std::string(entry.second);
  return list;
}

template <class E, size_t N>
using NameTable = std::array<std::pair<E, std::string_view>, N>;

}  // namespace fse
