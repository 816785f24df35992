#pragma once
#include <string>
#include <vector>

namespace fse {

struct YamlEntry;

// A YAML value as written: nothing merged, nothing resolved, and every value knows its place.
struct YamlNode {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  std::string text;                // scalar
  bool quoted = false;             // scalar: "yes" is a text, yes is not
  std::vector<YamlNode> items;     // list
  std::vector<YamlEntry> entries;  // map, in order, keys unique
  std::string where;               // "FILE:LINE:COL" or "override 'KEY=VALUE'"
  bool from_override = false;      // its relative paths start at the working directory
};

struct YamlEntry {
  std::string key;
  std::string where;
  YamlNode value;
};

// One document. `file` heads every message. Throws Error(usage) "FILE:LINE:COL: ..." for a syntax
// error, a key given twice, anchors and aliases, tags, a second document, text that is not UTF-8,
// and nesting deeper than a sweep can use.
YamlNode parse_yaml(const std::string& text, const std::string& file);

// The value after the `=` of an override; every message begins with "override 'KEY=VALUE': ".
YamlNode parse_override_value(const std::string& value, const std::string& override_text);

const YamlNode* find_key(const YamlNode& map, const std::string& key);

// One line per top-level key; parse_yaml gives an equal tree, places aside.
std::string to_yaml(const YamlNode& map);

}  // namespace fse
