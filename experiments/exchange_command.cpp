#include "experiments/exchange_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include "core/error.h"
#include "core/strict_json.h"
#include "experiments/write_file.h"
#include "tuner/exchange_store.h"

namespace fse {
namespace {

using Choose = std::function<void(std::function<int()>)>;

struct Exchange {
  std::string file, db, name;
  bool strict = false;
};

std::string read_file(const std::string& file) {
  if (!std::filesystem::is_regular_file(file))
    fail_usage(fmt::format("{}: no such file, expected a table to import", file));
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw Error(ErrorKind::environment, file + ": cannot be read");
  return text.str();
}

void print_findings(const ForeignTable& table) {
  size_t foreign = 0, flagged = 0;
  for (size_t i = 0; i < table.rows.size(); ++i) {
    const ForeignRow& row = table.rows[i];
    foreign += !row.kind.empty();
    flagged += !row.flags.empty();
    for (const std::string& flag : row.flags)
      fmt::print("row {}: {}: {}\n", i + 1, printable(row.key), printable(flag));
  }
  for (const std::string& duplicate : table.duplicates)
    fmt::print(stderr, "warning: {}: {}\n", table.name, printable(duplicate));
  fmt::print(
      "{}: {}, {} rows, {} of a kind fselab does not have, {} not to be believed, {} "
      "duplicates\n",
      table.name, to_name(table.format), table.rows.size(), foreign, flagged,
      table.duplicates.size());
}

int import_file(const Exchange& asked) {
  const std::string base = std::filesystem::path(asked.file).filename().string();
  const ForeignTable table =
      read_foreign(read_file(asked.file), asked.name.empty() ? base : asked.name);
  print_findings(table);
  if (asked.strict && !table.duplicates.empty()) {
    fmt::print(stderr, "fselab: {}: duplicates, nothing was written (--strict)\n", asked.file);
    return static_cast<int>(ErrorKind::data);
  }
  if (!add_foreign(Store::create_or_open(asked.db), table))
    fmt::print("{}: holds exactly this already\n", asked.db);
  return 0;
}

int export_file(const Exchange& asked) {
  const Store store = Store::open_read_only(asked.db);
  const std::string base = std::filesystem::path(asked.file).filename().string();
  const ForeignTable table = foreign_table(store, asked.name.empty() ? base : asked.name);
  write_file(asked.file, write_foreign(table));
  fmt::print("{}: {}, {} rows\n", asked.file, to_name(table.format), table.rows.size());
  return 0;
}

CLI::App* add_verb(CLI::App& db, const char* verb, const char* about,
                   const std::shared_ptr<Exchange>& asked) {
  CLI::App* command = db.add_subcommand(verb, about);
  command->add_option("file", asked->file, "The table's file")->required();
  command->add_option("--db", asked->db, "The database")->required();
  command->add_option("--name", asked->name, "The table's name; left out: the file's");
  return command;
}

}  // namespace

void add_exchange_verbs(CLI::App& db, const Choose& choose) {
  const auto asked = std::make_shared<Exchange>();
  CLI::App* take = add_verb(
      db, "import", "Keep another program's table: vLLM, SGLang, AITER, FAIR T1 or T4", asked);
  take->add_flag("--strict", asked->strict, "Write nothing where a row is there twice; exit 5");
  take->footer(
      "The format is taken from the content. Rows that no device can have measured are printed "
      "and\n"
      "kept with their reason; none of them can become a winner.\n"
      "Example: fselab db import tuned_fmoe.csv --db results.db");
  take->callback([asked, choose] { choose([asked] { return import_file(*asked); }); });
  CLI::App* give = add_verb(db, "export", "Write an imported table again, as it was", asked);
  give->footer("Example: fselab db export copy.csv --name tuned_fmoe.csv --db results.db");
  give->callback([asked, choose] { choose([asked] { return export_file(*asked); }); });
}

}  // namespace fse
