#pragma once
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/store.h"
#include "kernels/backend.h"

namespace fse {

// Counts what an emulated device's kernels do, holds it against their ops, and keeps it.
class KernelCounting {
 public:
  // An empty `db`: nothing is kept. Throws Error(usage) for a device that counts nothing.
  KernelCounting(Backend&, const std::filesystem::path& db);

  // The plan's steps on the session's buffers as a run with `choices` left them: with these, or
  // with every legal tile. What was counted before for the same step and workload is left out.
  std::vector<CountRecord> count(Session&, const LayerPlan&, std::span<const Choice> choices,
                                 const std::string& workload, bool all_tiles);

 private:
  CountRecord count_one(Session&, const LayerPlan&, size_t step, const Choice&, const Load&) const;

  const DeviceInfo device_;
  std::optional<Store> store_;
  int64_t environment_ = 0;
  std::set<std::string> done_;
};

// Bytes beside those declared, and the shares of conflicts and divergence, on one line.
std::string count_text(const CountRecord&);

}  // namespace fse
