#include "tuner/recorded_step.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <sstream>

#include "core/case_fields.h"
#include "core/error.h"
#include "core/strict_json.h"
#include "tuner/choice_space.h"
#include "tuner/worker_messages.h"

namespace fse {

template <class Archive>
void fields(Archive& a, Outcome& o) {
  a("status", o.status);
  a("reason", o.reason);
  a("accuracy", o.accuracy);
  a("us", o.samples_us);
  a("resources", o.resources);
  a("peak_bytes", o.peak_bytes);
}

template <class Archive>
void fields(Archive& a, RecordedTile& t) {
  a("kernel", t.kernel);
  a("tile", t.tile);
  a("outcome", t.outcome);
}

// All but the tiles.
template <class Archive>
void fields(Archive& a, RecordedStep& r) {
  a("device", r.device);
  a("toolchain", r.toolchain);
  a("read_gbs", r.read_gbs);
  a("peak_gflops", r.peak_gflops);
  a("spec", r.spec);
  a("step", r.step);
  a("legal", r.legal);
}

namespace {

struct CloseGzip {
  void operator()(gzFile file) const { gzclose(file); }
};
using Gzip = std::unique_ptr<gzFile_s, CloseGzip>;

constexpr size_t kMostBytes = size_t{64} << 20;  // 2,000 tiles take less than one

std::string inflated(const std::filesystem::path& file) {
  const Gzip gzip(gzopen(file.c_str(), "rb"));
  if (!gzip) fail_usage(file.string() + ": cannot be opened");
  std::string text;
  char buffer[65536];
  int n = 0;
  while ((n = gzread(gzip.get(), buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMostBytes) fail_data(file.string() + ": more than 64 MiB when unpacked");
  }
  if (n < 0 || !gzeof(gzip.get()))
    fail_data(file.string() + ": is cut off or damaged, expected gzip");
  return text;
}

nlohmann::json line_of(const std::string& line, const std::string& where) {
  constexpr int kDepth = 8;
  return parse_strict_json(line, where, kDepth);
}

Choice choice_of(const RecordedTile& tile) {
  return choice_of(ChoiceName{tile.kernel, tile.tile});
}

}  // namespace

void write_recorded_step(const RecordedStep& recorded, const std::filesystem::path& file) {
  std::string text = to_line(to_json(recorded)) + "\n";
  for (const RecordedTile& tile : recorded.tiles) text += to_line(to_json(tile)) + "\n";
  gzFile gzip = gzopen(file.c_str(), "wb9");
  const bool written =
      gzip != nullptr && gzwrite(gzip, text.data(), static_cast<unsigned>(text.size())) ==
                             static_cast<int>(text.size());
  const bool closed = gzip != nullptr && gzclose(gzip) == Z_OK;
  if (!written || !closed)
    throw Error(ErrorKind::environment, file.string() + ": cannot be written");
}

RecordedStep read_recorded_step(const std::filesystem::path& file) {
  std::istringstream lines(inflated(file));
  RecordedStep recorded;
  std::string line;
  for (int at = 1; std::getline(lines, line); ++at) {
    const std::string where = fmt::format("{}:{}", file.string(), at);
    const nlohmann::json json = line_of(line, where);
    try {
      if (at == 1) {
        recorded = from_json<RecordedStep>(json);
        continue;
      }
      recorded.tiles.push_back(from_json<RecordedTile>(json));
      choice_of(recorded.tiles.back());
    } catch (const Error& error) {
      fail_data(where + ": " + error.what());
    } catch (const nlohmann::json::exception& error) {
      fail_data(where + ": " + error.what());
    }
  }
  if (recorded.tiles.empty()) fail_data(file.string() + ": no tiles");
  plan_of(recorded);
  return recorded;
}

RecordedPlan plan_of(const RecordedStep& r) {
  const Case& c = r.spec;
  RecordedPlan found{.plan = make_plan(c, r.device)};
  const auto& steps = found.plan.steps;
  while (found.step < steps.size() && steps[found.step].name != r.step) ++found.step;
  if (found.step == steps.size())
    fail_data(
        fmt::format("step '{}' is not in the plan of {}", printable(r.step), to_text(c.variant)));
  return found;
}

RecordedSpace space_of(const RecordedStep& recorded) {
  std::vector<Choice> choices;
  RecordedSpace space;
  for (const RecordedTile& tile : recorded.tiles) {
    choices.push_back(choice_of(tile));
    const bool measured = tile.outcome.status == Status::measured;
    space.times_us.push_back(measured ? median(tile.outcome.samples_us)
                                      : std::numeric_limits<double>::quiet_NaN());
  }
  const RecordedPlan at = plan_of(recorded);
  space.space = space_of(choices, at.plan, at.plan.steps[at.step], recorded.device);
  return space;
}

}  // namespace fse
