// Writes the HTML reports that report_page.mjs opens: pages FOLDER
#include <filesystem>
#include <fstream>

#include "reports/html.h"
#include "tests/reports/synthetic_search.h"

namespace fse::test {
namespace {

namespace fs = std::filesystem;

void write_page(const fs::path& folder, const std::string& name, const Store& store) {
  const PageParts parts{.reports = fs::path(FSELAB_SOURCE_DIR) / "reports",
                        .libraries = FSELAB_BUILT_CHARTS};
  std::ofstream out(folder / (name + ".html"), std::ios::binary);
  ReportData data = load_report(store);
  if (name != "one") data.models["cpu"] = sample_model();
  out << to_html(store, data, parts);
}

fs::path fresh(const fs::path& folder, const std::string& name) {
  const fs::path file = folder / (name + ".db");
  for (const char* tail : {"", "-wal", "-shm"}) fs::remove(file.string() + tail);
  return file;
}

void write_empty(const fs::path& folder) {
  write_page(folder, "empty", Store::create_or_open(fresh(folder, "empty")));
}

void write_unmeasured(const fs::path& folder) {
  SyntheticStudy s(fresh(folder, "unmeasured"));
  s.add(sample_case(), true);
  s.store_study();
  write_page(folder, "unmeasured", s.store);
}

void write_one(const fs::path& folder) {
  SyntheticStudy s(fresh(folder, "one"));
  s.add(sample_case(), true);
  s.store_study();
  s.measure(sample_case(), 1234);
  write_page(folder, "one", s.store);
}

void write_searched(const fs::path& folder, const std::string& name, int attempts) {
  SyntheticStudy s(fresh(folder, name));
  fill_realistic(s);
  add_search(s, attempts);
  write_page(folder, name, s.store);
}

// Every text that comes from outside is an attempt to break out of the page.
void write_hostile(const fs::path& folder) {
  SyntheticStudy s(fresh(folder, "hostile"));
  const std::string evil =
      "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'` {{data}} "
      "\n\u2028 專家混合 نموذج \xf0\x9f\x9a\x80 ${x} \\ **b**";
  Case base = sample_case();
  base.layer.model = evil;
  base.device = evil;
  for (const int tokens : {1, 4}) {
    s.add(with(base, base.variant, tokens), true);
    s.add(with(base, {Gate::fused, Topk::fused, Shared::slot}, tokens));
  }
  s.add(with(base, {Gate::fused, Topk::fused, Shared::slot}, 64), false, CaseState::failed, evil);
  StudyRecord record = sample_study(evil);
  record.command = record.yaml_text = evil;
  s.store_study(record);
  for (const int tokens : {1, 4}) {
    s.measure(with(base, base.variant, tokens), 100);
    s.measure(with(base, {Gate::fused, Topk::fused, Shared::slot}, tokens), 90);
  }
  for (int i = 0; i < 60; ++i) {
    AttemptRecord a = searched(i, evil);
    a.kernel = evil;
    if (!a.outcome.reason.empty()) a.outcome.reason = evil;
    test::record(s.store, s.study, s.environment, a, a.outcome);
  }
  write_page(folder, "hostile", s.store);
}

}  // namespace
}  // namespace fse::test

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  std::filesystem::create_directories(folder);
  fse::test::write_empty(folder);
  fse::test::write_unmeasured(folder);
  fse::test::write_one(folder);
  fse::test::write_searched(folder, "quickstart", 400);
  fse::test::write_searched(folder, "many", 10'000);
  fse::test::write_hostile(folder);
}
