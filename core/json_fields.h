#pragma once
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "core/error.h"
#include "core/names.h"

namespace fse {

// Values as JSON and back, exactly: a struct says once what its fields are,
//   template <class Archive> void fields(Archive& a, Work& w) { a("bytes", w.bytes); ... }
// Enumerators are their names; numbers that JSON does not have are "nan", "inf" and "-inf". An
// optional that is missing is nullopt: files from before there was such a field have none.

template <class T>
nlohmann::json to_json(const T& value);
template <class T>
T from_json(const nlohmann::json& json);  // throws Error(data) that names the field

namespace json_fields {

template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

struct Writer {
  nlohmann::json json = nlohmann::json::object();
  template <class T>
  void operator()(const char* name, const T& value) {
    json[name] = to_json(value);
  }
};

struct Reader {
  const nlohmann::json& json;
  template <class T>
  void operator()(const char* name, T& value) {
    const auto found = json.find(name);
    if (found == json.end() && IsOptional<T>::value) return;
    if (found == json.end()) fail_data(std::string("field ") + name + " is missing");
    try {
      value = from_json<T>(*found);
    } catch (const nlohmann::json::exception& error) {
      fail_data(std::string("field ") + name + ": " + error.what());
    }
  }
};

inline nlohmann::json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}
inline double number(const nlohmann::json& json) {
  if (!json.is_string()) return json.get<double>();
  const std::string text = json.get<std::string>();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text != "inf" && text != "-inf") fail_data("'" + text + "', expected a number");
  return text == "inf" ? INFINITY : -INFINITY;
}

template <class E>
E enumerator(const nlohmann::json& json) {
  const std::string name = json.get<std::string>();
  if (const auto value = from_name<E>(name)) return *value;
  fail_data("'" + name + "', expected one of " + all_names<E>());
}

}  // namespace json_fields

template <class T>
nlohmann::json to_json(const T& value) {
  if constexpr (std::is_same_v<T, double>) {
    return json_fields::number(value);
  } else if constexpr (std::is_enum_v<T>) {
    return to_name(value);
  } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
    return value.string();
  } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (json_fields::IsOptional<T>::value) {
    return value ? to_json(*value) : nlohmann::json();
  } else if constexpr (json_fields::IsVector<T>::value) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& entry : value) list.push_back(to_json(entry));
    return list;
  } else {
    json_fields::Writer writer;
    fields(writer, const_cast<T&>(value));  // a writer only reads
    return std::move(writer.json);
  }
}

template <class T>
T from_json(const nlohmann::json& json) {
  if constexpr (std::is_same_v<T, double>) {
    return json_fields::number(json);
  } else if constexpr (std::is_enum_v<T>) {
    return json_fields::enumerator<T>(json);
  } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
    return json.get<std::string>();
  } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
    return json.get<T>();
  } else if constexpr (json_fields::IsOptional<T>::value) {
    if (json.is_null()) return std::nullopt;
    return from_json<typename T::value_type>(json);
  } else if constexpr (json_fields::IsVector<T>::value) {
    T list;
    for (const auto& entry : json) list.push_back(from_json<typename T::value_type>(entry));
    return list;
  } else {
    T value;
    json_fields::Reader reader{json};
    fields(reader, value);
    return value;
  }
}

}  // namespace fse
