#include "experiments/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <functional>
#include <optional>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "core/strict_json.h"
#include "experiments/utf8.h"

namespace fse {
namespace {

constexpr size_t kMaxDepth = 16;  // a sweep uses five levels

// Names the place of a mark: a line and column in a file, or the override as typed.
using Place = std::function<std::string(const YAML::Mark&)>;

// yaml-cpp's own nodes merge keys given twice and follow aliases: its events show both.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(Place place, bool from_override)
      : place_(std::move(place)), from_override_(from_override) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(mark, "a second document begins here, expected one");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_extras(mark, "?", anchor);
    add(mark, node(mark, YamlNode::Kind::null));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail(mark, "an alias (*name), expected the value itself: a sweep uses no aliases");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_extras(mark, tag, anchor);
    YamlNode scalar = node(mark, YamlNode::Kind::scalar);
    scalar.text = value;
    scalar.quoted = tag == "!";  // what yaml-cpp reports for every scalar that is not plain
    const bool null = !scalar.quoted && (value == "~" || value == "null" || value.empty());
    if (null) scalar = node(mark, YamlNode::Kind::null);
    add(mark, std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::map);
  }
  void OnMapEnd() override { close(); }

  YamlNode root;

 private:
  struct Frame {
    YamlNode node;
    std::optional<YamlEntry> pending;  // map: the key whose value comes next
  };

  [[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) const {
    fail_usage(fmt::format("{}: {}", place_(mark), what));
  }
  YamlNode node(const YAML::Mark& mark, YamlNode::Kind kind) const {
    return {.kind = kind, .where = place_(mark), .from_override = from_override_};
  }
  void refuse_extras(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != 0)
      fail(mark, "an anchor (&name), expected a plain value: a sweep uses no anchors");
    if (!tag.empty() && tag != "?" && tag != "!")
      fail(mark,
           fmt::format("a tag ({}), expected a plain value: a sweep uses no tags", printable(tag)));
  }
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            YamlNode::Kind kind) {
    refuse_extras(mark, tag, anchor);
    if (stack_.size() >= kMaxDepth)
      fail(mark, fmt::format("nested deeper than {} levels", kMaxDepth));
    stack_.push_back({node(mark, kind), std::nullopt});
  }
  void close() {
    YamlNode done = std::move(stack_.back().node);
    stack_.pop_back();
    add(YAML::Mark::null_mark(), std::move(done));
  }
  void add(const YAML::Mark& mark, YamlNode value) {
    if (stack_.empty()) {
      root = std::move(value);
      return;
    }
    Frame& parent = stack_.back();
    if (parent.node.kind == YamlNode::Kind::list) {
      parent.node.items.push_back(std::move(value));
    } else if (!parent.pending) {
      begin_entry(parent, mark, value);
    } else {
      // yaml-cpp places what is not there at whatever follows it.
      if (value.kind == YamlNode::Kind::null) value.where = parent.pending->where;
      parent.pending->value = std::move(value);
      parent.node.entries.push_back(std::move(*parent.pending));
      parent.pending.reset();
    }
  }
  void begin_entry(Frame& parent, const YAML::Mark& mark, const YamlNode& key) const {
    if (key.kind != YamlNode::Kind::scalar)
      fail_usage(fmt::format("{}: a key that is no text, expected a name", key.where));
    for (const YamlEntry& earlier : parent.node.entries)
      if (earlier.key == key.text)
        fail(mark, fmt::format("key '{}' is given twice, first at {}, expected once",
                               printable(key.text), earlier.where));
    parent.pending = YamlEntry{.key = key.text, .where = key.where, .value = {}};
  }

  Place place_;
  bool from_override_;
  int documents_ = 0;
  std::vector<Frame> stack_;
};

YamlNode parse_document(const std::string& text, const Place& place, bool from_override) {
  if (const std::optional<BadByte> bad = find_bad_utf8(text)) {
    YAML::Mark mark;
    mark.line = bad->line;
    mark.column = bad->column;
    fail_usage(fmt::format("{}: {}", place(mark), bad->what));
  }
  TreeBuilder builder(place, from_override);
  builder.root.where = place(YAML::Mark());
  builder.root.from_override = from_override;
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) continue;
  } catch (const YAML::Exception& error) {
    fail_usage(fmt::format("{}: {}, expected valid YAML", place(error.mark), error.msg));
  }
  return std::move(builder.root);
}

// Plain inside brackets only where no character has a meaning there.
bool needs_quotes(const YamlNode& scalar) {
  return scalar.quoted || scalar.text.find_first_of(",[]{}:#&*!|>'\"%@`\\?-\n\t") == 0 ||
         scalar.text.find_first_of(",[]{}#\n") != std::string::npos ||
         scalar.text.find(": ") != std::string::npos || scalar.text.ends_with(':');
}

std::string quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (c == '\n')
      quoted += "\\n";
    else if (c == '\t')
      quoted += "\\t";
    else if (c == '\r')
      quoted += "\\r";
    else
      quoted += c;
  }
  return quoted + '"';
}

std::string scalar_text(const std::string& text, bool quotes) {
  return quotes ? quote(text) : text;
}

std::string to_flow(const YamlNode& node) {
  std::string inner;
  switch (node.kind) {
    case YamlNode::Kind::null:
      return "~";
    case YamlNode::Kind::scalar:
      return scalar_text(node.text, needs_quotes(node));
    case YamlNode::Kind::list:
      for (const YamlNode& item : node.items) inner += (inner.empty() ? "" : ", ") + to_flow(item);
      return "[" + inner + "]";
    case YamlNode::Kind::map:
      for (const YamlEntry& entry : node.entries)
        inner +=
            fmt::format("{}{}: {}", inner.empty() ? "" : ", ", entry.key, to_flow(entry.value));
      return "{" + inner + "}";
  }
  return "~";
}

}  // namespace

YamlNode parse_yaml(const std::string& text, const std::string& file) {
  const Place place = [&](const YAML::Mark& mark) {
    return fmt::format("{}:{}:{}", file, std::max(mark.line, 0) + 1, std::max(mark.column, 0) + 1);
  };
  return parse_document(text, place, false);
}

YamlNode parse_override_value(const std::string& value, const std::string& override_text) {
  const std::string where = fmt::format("override '{}'", printable(override_text));
  return parse_document(
      value, [&](const YAML::Mark&) { return where; }, true);
}

const YamlNode* find_key(const YamlNode& map, const std::string& key) {
  for (const YamlEntry& entry : map.entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

std::string to_yaml(const YamlNode& map) {
  std::string text;
  for (const YamlEntry& entry : map.entries)
    text += fmt::format("{}: {}\n", entry.key, to_flow(entry.value));
  return text;
}

}  // namespace fse
