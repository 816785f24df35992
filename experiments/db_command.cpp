#include "experiments/db_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "core/counted.h"
#include "core/filter.h"
#include "core/store_merge.h"
#include "experiments/dispatch_command.h"
#include "experiments/exchange_command.h"
#include "experiments/rerun.h"
#include "experiments/tuning_table.h"
#include "reports/columns.h"
#include "reports/compare.h"
#include "reports/queries.h"

namespace fse {
namespace {

using Choose = std::function<void(std::function<int()>)>;

// What the verbs share; each fills in what it has.
struct Asked {
  std::string db, id, level = "layer", sql, a, b, against;
  std::vector<std::string> filter;
  int64_t n = 10;
  bool cases = false, json = false, csv = false, md = false;
  int exit_code = 0;

  GridFormat format() const {
    return json  ? GridFormat::json
           : csv ? GridFormat::csv
           : md  ? GridFormat::md
                 : GridFormat::table;
  }
};

CLI::App* add_verb(CLI::App& db, const std::string& name, const std::string& what, Asked& asked) {
  CLI::App* verb = db.add_subcommand(name, what);
  verb->add_option("--db", asked.db, "A database that `run` wrote")->required();
  return verb;
}

// A verb that prints one table.
CLI::App* add_query(CLI::App& db, const std::string& name, const std::string& what, Asked& asked,
                    const Choose& choose, std::function<Grid(const Store&)> query) {
  CLI::App* verb = add_verb(db, name, what, asked);
  CLI::Option* json = verb->add_flag("--json", asked.json, "An array of objects, all digits");
  CLI::Option* csv = verb->add_flag("--csv", asked.csv, "RFC 4180, all digits");
  CLI::Option* md = verb->add_flag("--md", asked.md, "A Markdown table");
  json->excludes(csv)->excludes(md);
  csv->excludes(md);
  verb->callback([&asked, choose, query] {
    choose([&asked, query] {
      fmt::print("{}", to_text(query(Store::open_read_only(asked.db)), asked.format()));
      return asked.exit_code;
    });
  });
  return verb;
}

void add_filter(CLI::App* verb, Asked& asked, const std::string& columns,
                const std::string& example) {
  verb->add_option("filter", asked.filter, "Conditions, e.g. model=qwen3-next 'tokens>=4'");
  verb->footer(filter_help() + columns + "Example: " + example);
}

void add_lists(CLI::App& db, Asked& asked, const Choose& choose) {
  CLI::App* ls = add_query(db, "ls", "Studies, or with --cases what they consist of", asked, choose,
                           [&asked](const Store& s) {
                             const Filter filter = parse_filter(asked.filter);
                             return asked.cases ? list_cases(s, filter) : list_studies(s, filter);
                           });
  ls->add_flag("--cases", asked.cases, "Their cases");
  add_filter(ls, asked, column_help("ls") + column_help("ls --cases"),
             "fselab db ls --db results.db --cases state=failed");
  CLI::App* best = add_query(
      db, "best", "The fastest verified layer of every model, dtype, token count and device", asked,
      choose, [&asked](const Store& s) { return best_layers(s, parse_filter(asked.filter)); });
  add_filter(best, asked, column_help("best"),
             "fselab db best --db results.db model=qwen3-next 'tokens<=16'");
  CLI::App* top = add_query(
      db, "top", "The N fastest verified attempts", asked, choose, [&asked](const Store& s) {
        return top_attempts(s, parse_filter(asked.filter), asked.level, asked.n);
      });
  top->add_option("n", asked.n, "How many")->required()->check(CLI::Range(1, 1'000'000));
  top->add_option("--level", asked.level, "layer or step")
      ->check(CLI::IsMember({"layer", "step"}))
      ->capture_default_str();
  add_filter(top, asked, column_help("top") + column_help("top --level step"),
             "fselab db top 5 --db results.db --level step kernel~grouped_stage1");
}

void add_tuning(CLI::App& db, Asked& asked, const Choose& choose) {
  CLI::App* tuning = add_query(
      db, "tuning",
      "What tuning won, by workload: over default tiles, over a library, and failures", asked,
      choose, [&asked](const Store& s) { return tuning_table(s, parse_filter(asked.filter)); });
  add_filter(tuning, asked, column_help("tuning"), "fselab db tuning --db results.db --md");
}

void add_censuses(CLI::App& db, Asked& asked, const Choose& choose) {
  CLI::App* failures = add_query(
      db, "failures", "Attempts without a usable number, by kind and reason", asked, choose,
      [&asked](const Store& s) { return count_failures(s, parse_filter(asked.filter)); });
  add_filter(failures, asked, column_help("failures"),
             "fselab db failures --db results.db status!=illegal");
  CLI::App* covered = add_query(
      db, "coverage", "What has been measured, by model, dtype, device and variant", asked, choose,
      [&asked](const Store& s) { return coverage(s, parse_filter(asked.filter)); });
  add_filter(covered, asked, column_help("coverage"), "fselab db coverage --db results.db --md");
  CLI::App* diff = add_query(db, "diff", "Two selections, case by case, with verdicts", asked,
                             choose, [&asked](const Store& s) {
                               if (asked.against.empty())
                                 return compare_selections(s, asked.a, s, asked.b);
                               const Store other = Store::open_read_only(asked.against);
                               return compare_selections(s, asked.a, other, asked.b);
                             });
  diff->add_option("a", asked.a, "A study's name or a filter in one word: git_revision=0123abc")
      ->required();
  diff->add_option("b", asked.b, "What is compared with it, in the same way")->required();
  diff->add_option("--against", asked.against, "B is taken from this database");
  diff->footer(compare_help() + "First the columns that say which case it is, then:\n" +
               column_help("diff") +
               "Example: fselab db diff variant.shared=mlp variant.shared=slot --db results.db");
}

void add_details(CLI::App& db, Asked& asked, const Choose& choose) {
  CLI::App* one = add_query(db, "show", "Everything about an attempt, a case or a study", asked,
                            choose, [&asked](const Store& s) { return show(s, asked.id); });
  one->add_option("id", asked.id, "An attempt's number, a case's id or a study's name")->required();
  CLI::App* steps =
      add_query(db, "steps", "The steps of a layer's attempt, with their tiles", asked, choose,
                [&asked](const Store& s) { return show_steps(s, asked.id); });
  steps->add_option("attempt", asked.id, "Its number")->required();
  steps->footer(column_help("steps") + "Example: fselab db steps 17 --db results.db");
  CLI::App* counters =
      add_query(db, "counters", "What kernels did on emulated devices (verify --counters)", asked,
                choose, [&asked](const Store& s) { return list_counters(s, asked.filter); });
  counters->add_option("filter", asked.filter, "Conditions, e.g. kernel~stage1 device=emu:gfx942");
  counters->footer(column_help("counters") +
                   "Example: fselab db counters --db emu.db kernel~stage1 --md");
  CLI::App* again = add_query(db, "rerun", "Measure one attempt again, beside what its row says",
                              asked, choose, [&asked](const Store& s) {
                                const Rerun done = rerun_attempt(s, asked.n);
                                asked.exit_code = done.same_end ? 0 : 1;
                                return done.grid;
                              });
  again->add_option("attempt", asked.n, "Its number")->required()->check(CLI::PositiveNumber);
  again->footer(
      "The same weights, inputs and tiles, as many rounds, verified first; nothing is recorded.\n"
      "Exit 1 where it ends otherwise than it did: measured then, wrong now.\n" +
      column_help("rerun") + "Example: fselab db rerun 17 --db results.db");
  CLI::App* sql =
      add_query(db, "sql", "Any SELECT, with median, percentile, geomean, ci_low and ci_high",
                asked, choose, [&asked](const Store& s) { return run_sql(s, asked.sql); });
  sql->add_option("statement", asked.sql, "One statement that only reads")->required();
  sql->footer(
      "The views v_best and v_failures answer most questions. The sqlite3 shell gets the same\n"
      "functions by `.load PATH`, where PATH is fselab_sqlite beside the built binary, or\n"
      "PREFIX/lib/fselab/fselab_sqlite.\n"
      "Example: fselab db sql 'SELECT kernel, median(median_us) FROM attempt GROUP BY kernel' "
      "--db results.db");
}

void add_care(CLI::App& db, Asked& asked, const Choose& choose) {
  CLI::App* sound =
      add_verb(db, "check", "Integrity, orphans, schema; exit 5 where something is wrong", asked);
  sound->footer(column_help("check"));
  sound->callback([&asked, choose] {
    choose([&asked] {
      const Grid findings = check_store(Store::open_read_only(asked.db));
      fmt::print("{}", findings.rows.empty() ? asked.db + ": sound\n" : to_table(findings));
      return findings.rows.empty() ? 0 : 5;
    });
  });
  add_verb(db, "migrate", "To this fselab's schema, after a backup beside the file", asked)
      ->callback([&asked, choose] {
        choose([&asked] {
          const auto backup = Store::migrate(asked.db);
          fmt::print("{}: {}\n", asked.db,
                     backup.empty() ? "up to date" : "migrated; backup: " + backup.string());
          return 0;
        });
      });
  add_verb(db, "gc", "Close what dead processes left running, give unused pages back", asked)
      ->callback([&asked, choose] {
        choose([&asked] {
          fmt::print("{}: {} bytes smaller\n", asked.db, Store::collect_garbage(asked.db));
          return 0;
        });
      });
}

struct MergeAsked {
  std::vector<std::filesystem::path> from;
  std::filesystem::path into;
  bool keep = false;
};

int merge(const MergeAsked& asked) {
  const MergeResult merged = merge_stores(asked.from, asked.into, asked.keep);
  for (const std::string& conflict : merged.conflicts) fmt::print(stderr, "{}\n", conflict);
  const bool written = merged.conflicts.empty() || asked.keep;
  fmt::print("{}: {}\n", asked.into.string(),
             written ? fmt::format("{} and {} more{}", counted(merged.attempts, "attempt"),
                                   counted(merged.cases, "case"),
                                   merged.counts > 0 ? fmt::format(", {} of emulated kernels",
                                                                   counted(merged.counts, "count"))
                                                     : "")
                     : fmt::format("{} conflicts, nothing was written", merged.conflicts.size()));
  return written ? 0 : 1;
}

void add_merge(CLI::App& db, const Choose& choose) {
  CLI::App* verb = db.add_subcommand("merge", "Join databases, such as those of a job array");
  const auto asked = std::make_shared<MergeAsked>();
  verb->add_option("from", asked->from, "Databases that `run` wrote")->required();
  verb->add_option("--into", asked->into, "The database that has it all; made where missing")
      ->required();
  verb->add_flag("--keep", asked->keep, "Where they disagree, keep what is there already");
  verb->footer(
      "A conflict (two ends of a case, two winners of a step or layer) is told, and nothing is\n"
      "written then: exit 1. Merging again adds nothing twice. Imported foreign tables are left.\n"
      "Example: fselab db merge shard-*.db --into results.db");
  verb->callback([asked, choose] { choose([asked] { return merge(*asked); }); });
}

}  // namespace

void add_db_command(CLI::App& app, const Choose& choose) {
  CLI::App* db = app.add_subcommand("db", "Query a database: best, top, failures, diff, sql, ...");
  db->require_subcommand(1);
  db->footer("Example: fselab db best --db results.db model=qwen3-next 'tokens>=4' --md");
  // Callbacks outlive this function: what they fill in belongs to them.
  const auto asked = std::make_shared<Asked>();
  const Choose keeping = [choose, asked](std::function<int()> action) {
    choose([asked, action] { return action(); });
  };
  add_lists(*db, *asked, keeping);
  add_tuning(*db, *asked, keeping);
  add_censuses(*db, *asked, keeping);
  add_details(*db, *asked, keeping);
  add_care(*db, *asked, keeping);
  add_merge(*db, choose);
  add_dispatch_verb(*db, choose);
  add_exchange_verbs(*db, choose);
}

}  // namespace fse
