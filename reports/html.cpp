#include "reports/html.h"

#include <fmt/format.h>

#include <fstream>
#include <set>
#include <sstream>

#include "core/error.h"
#include "reports/json.h"

namespace fse {

namespace fs = std::filesystem;

namespace {

std::string read_part(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in)
    throw Error(
        ErrorKind::environment,
        fmt::format("{}: cannot be read, expected a part of the report's page", file.string()));
  return text.str();
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

// JSON inside <script>: no tag can begin or end there.
std::string inert(const std::string& json) {
  return replaced(json, "<", "\\u003c");
}

// {"layer_time": {...}, ...} of charts/*.vl.json, by name.
std::string chart_specs(const fs::path& folder) {
  std::set<fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none))
    if (entry.path().string().ends_with(".vl.json")) files.insert(entry.path());
  std::string all;
  for (const fs::path& file : files) {
    const std::string name = file.filename().string();
    all += fmt::format("{}\"{}\": {}", all.empty() ? "" : ",\n",
                       name.substr(0, name.size() - std::string_view(".vl.json").size()),
                       read_part(file));
  }
  return "{" + all + "}";
}

std::string escaped(const std::string& text) {
  return replaced(replaced(replaced(text, "&", "&amp;"), "<", "&lt;"), ">", "&gt;");
}

}  // namespace

std::string to_html(const Store& store, const ReportData& data, const PageParts& parts) {
  const fs::path page = parts.reports / "page";
  std::error_code none;
  const bool charts = fs::exists(parts.libraries, none);
  std::string text = read_part(page / "report.html");
  // The data comes last: nothing in it is taken for a placeholder.
  text = replaced(text, "{{style}}", read_part(page / "report.css"));
  std::string script;
  for (const char* part : {"data.js", "tables.js", "charts.js", "tiles.js", "report.js"})
    script += read_part(page / part);
  text = replaced(text, "{{script}}", script);
  text = replaced(text, "{{libraries}}",
                  charts ? replaced(read_part(parts.libraries), "</script", "<\\/script") : "");
  text =
      replaced(text, "{{charts}}", inert(charts ? chart_specs(parts.reports / "charts") : "null"));
  const std::string mark = "{{data}}";
  const size_t at = text.rfind(mark);
  text.replace(at, mark.size(), inert(to_json(store, data)));
  const std::string title = "{{title}}";
  return text.replace(text.find(title), title.size(), escaped(data.study.name));
}

}  // namespace fse
