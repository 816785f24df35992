#pragma once
#include <filesystem>
#include <memory>

#include "tuner/workbench.h"

namespace fse {

// A device that answers from the recordings in a folder (see recorded_step.h): a tile is as right
// and as fast, round by round, as it was when it was recorded, or fails as it did. A layer takes
// what its steps take, one after the other; nobody recorded it. What has no recording fails with
// the step's key. Throws Error(usage) for a folder without recordings, Error(data) for damaged ones
// and for recordings of several devices.
std::unique_ptr<Workbench> open_replay(const std::filesystem::path& folder);

}  // namespace fse
