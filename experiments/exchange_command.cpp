#include "experiments/exchange_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "core/error.h"
#include "core/read_file.h"
#include "core/strict_json.h"
#include "experiments/certificate.h"
#include "experiments/dispatch_command.h"
#include "experiments/dispatch_header.h"
#include "experiments/write_file.h"
#include "tuner/exchange_export.h"
#include "tuner/exchange_store.h"

namespace fse {
namespace {

using Choose = std::function<void(std::function<int()>)>;

struct Exchange {
  std::string file, db, name, as, regret = "2%";
  std::vector<std::string> filter;
  bool strict = false, certificate = false;
};

std::string table_text(const std::string& file) {
  if (!std::filesystem::is_regular_file(file))
    fail_usage(fmt::format("{}: no such file, expected a table to import", file));
  const std::optional<std::string> text = read_file(file);
  if (!text) throw Error(ErrorKind::environment, file + ": cannot be read");
  return *text;
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
      read_foreign(table_text(asked.file), asked.name.empty() ? base : asked.name);
  print_findings(table);
  if (asked.strict && !table.duplicates.empty()) {
    fmt::print(stderr, "fselab: {}: duplicates, nothing was written (--strict)\n", asked.file);
    return static_cast<int>(ErrorKind::data);
  }
  if (!add_foreign(Store::create_or_open(asked.db), table))
    fmt::print("{}: holds exactly this already\n", asked.db);
  return 0;
}

int export_imported(const Store& store, const Exchange& asked) {
  const std::string base = std::filesystem::path(asked.file).filename().string();
  const ForeignTable table = foreign_table(store, asked.name.empty() ? base : asked.name);
  write_file(asked.file, write_foreign(table));
  fmt::print("{}: {}, {} rows\n", asked.file, to_name(table.format), table.rows.size());
  return 0;
}

int export_header(const Store& store, const Exchange& asked) {
  const std::vector<Dispatched> all =
      dispatch_layers(store, parse_filter(asked.filter), read_regret(asked.regret));
  write_file(asked.file, dispatch_header(store, all));
  bool reached = true;
  for (const Dispatched& d : all) {
    reached = reached && d.table.reached;
    fmt::print("{}: {}: {}\n", asked.file, printable(dispatch_title(d)), dispatch_summary(d));
  }
  return reached ? 0 : 1;
}

// A table is about one layer on one device; a folder gets a file by the name that is looked for.
LayerDispatch only_layer(const Store& store, const Exchange& asked) {
  std::vector<LayerDispatch> all = load_layers(store, parse_filter(asked.filter));
  if (all.size() == 1) return std::move(all.front());
  std::string which;
  for (const LayerDispatch& l : all)
    which += fmt::format("\n  {} {} tp={} {} environment={}", printable(l.spec().layer.model),
                         to_name(l.spec().layer.dtype), l.spec().tp, to_name(l.spec().cache),
                         l.environment);
  fail_usage(fmt::format("{}: {} measured layers are selected, expected one{}{}", asked.db,
                         all.size(), all.empty() ? "" : " of", which));
}

int export_winners(const Store& store, const Exchange& asked) {
  const LayerDispatch layer = only_layer(store, asked);
  const DeviceInfo device = store.environment(layer.environment).device;
  const bool aiter = asked.as == "aiter";
  const ForeignTable table = aiter ? aiter_of(layer, device) : vllm_of(layer);
  std::filesystem::path file = asked.file;
  if (std::filesystem::is_directory(file))
    file /= aiter ? sanitized_device_name(device.product) + "_tuned_fmoe.csv"
                  : vllm_name_of(layer, device, asked.as == "sglang");
  write_file(file, write_foreign(table));
  fmt::print("{}: {}, {} rows\n", file.string(), asked.as, table.rows.size());
  if (!aiter)
    fmt::print(stderr,
               "note: the settings nearest to fselab's tiles; {}'s own kernel was not measured\n",
               asked.as);
  return 0;
}

int export_certificate(const Store& store, const Exchange& asked) {
  const Certificate c = make_certificate(store, parse_filter(asked.filter));
  write_file(asked.file, to_text(c));
  fmt::print("{}: attempt {}, {} at tokens={}: {:.4g} us\n", asked.file, c.attempt,
             to_label(c.spec.variant), c.spec.tokens, c.time_us.median);
  return 0;
}

int export_file(const Exchange& asked) {
  const Store store = Store::open_read_only(asked.db);
  if (asked.certificate) return export_certificate(store, asked);
  if (asked.as.empty()) {
    if (!asked.filter.empty())
      fail_usage(
          "conditions select winners, expected --certificate, or --as vllm, sglang, aiter or "
          "header");
    return export_imported(store, asked);
  }
  return asked.as == "header" ? export_header(store, asked) : export_winners(store, asked);
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
  CLI::App* give = add_verb(
      db, "export", "Write an imported table again, fselab's winners, or a certificate", asked);
  give->add_option("filter", asked->filter, "Which winners: conditions, e.g. model=qwen3-next");
  CLI::Option* as =
      give->add_option("--as", asked->as,
                       "vllm, sglang: settings of their Triton kernel by token count\n"
                       "aiter: a tuned_fmoe.csv; header: the dispatch table as constexpr C++")
          ->check(CLI::IsMember({"vllm", "sglang", "aiter", "header"}));
  give->add_option("--regret", asked->regret, "With --as header: see db dispatch")
      ->capture_default_str();
  give->add_flag("--certificate", asked->certificate,
                 "The winner of one workload with its evidence, for `fselab verify --certificate`")
      ->excludes(as)
      ->excludes("--name");
  give->footer(
      "Where FILE is a folder, the file gets the name under which the program looks for it.\n"
      "Example: fselab db export copy.csv --name tuned_fmoe.csv --db results.db\n"
      "         fselab db export configs/ model=qwen3-next dtype=bf16 --as vllm --db results.db\n"
      "         fselab db export dispatch.h dtype=bf16 --as header --db results.db\n"
      "         fselab db export winner.json tokens=4 dtype=bf16 --certificate --db results.db");
  give->callback([asked, choose] { choose([asked] { return export_file(*asked); }); });
}

}  // namespace fse
