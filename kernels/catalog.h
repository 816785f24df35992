#pragma once
#include <span>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/tile.h"

namespace fse {

struct CpuArgs;
class Team;
namespace gpu {
struct Launch;
}

// How a kernel goes over the weights of an op, by design: what tokens do not share is read again,
// and what does not fill a tile is multiplied by zeros.
struct WeightPass {
  int tokens = 1;      // that share one reading
  bool dense = false;  // all do, whichever of them an expert has
  int rows = 0;        // of a tile for the matrix unit; 0: it is not used
  int columns = 0;     // of tokens that are multiplied at least; 0: those of an instruction
  int depth = 1;       // slices of 128 bytes of k that are multiplied at least
};

struct Axis {
  std::string name;
  std::vector<int> values;
};

// One row of the catalogue: a kernel family for one op. Data and plain functions, no class tree.
struct KernelDef {
  std::string name;  // "cpu.grouped_stage1.stream"
  Op op;
  std::string device;  // DeviceInfo::kind it runs on
  std::vector<Axis> axes;
  // Why this tile can never run ("" = it can): from the tile alone, or for this step and device.
  std::string (*legal)(const Tile&);
  std::string (*fits)(const Tile&, const LayerPlan&, const Step&, const DeviceInfo&);
  // A tile that is right for every shape, if not the fastest: what runs untuned.
  Tile (*default_tile)(const LayerPlan&, const Step&, const DeviceInfo&);
  // Whether an untuned step had rather run this than the rows before it; nullptr: never.
  bool (*preferred)(const LayerPlan&, const Step&) = nullptr;
  // What a tile takes, roughly: searches try the lowest first. nullptr: nobody knows.
  double (*predicted_us)(const Tile&, const LayerPlan&, const Step&, const DeviceInfo&) = nullptr;
  // device == "cpu": called by every thread of the team; see kernels/cpu/team.h.
  void (*run_cpu)(const CpuArgs&, const Tile&, Team&) = nullptr;
  // device == "hip": the header below kernels/device to include, the instance to compile (a name
  // expression), and its grid, block and dynamic LDS. A tile's axis `dependent`, where it has one,
  // says how it is launched. A row of the vendor's library (see gpu/library.h) multiplies first;
  // its instance is what is left to do, "" for nothing.
  std::string header = {};
  std::string (*instance)(const Tile&, const LayerPlan&, const Step&) = nullptr;
  gpu::Launch (*launch)(const Tile&, const LayerPlan&, const Step&, const DeviceInfo&) = nullptr;
  // Of op `part` of the step: its own, or one that `layer` is made of. nullptr: there are no
  // weights.
  WeightPass (*pass)(const Tile&, Op part, const LayerPlan&) = nullptr;
  bool cooperative = false;  // its blocks wait for each other: all of them have to be resident
};

// Every tile of the family that is legal and fits, the default first (where it does), else in axis
// order.
std::vector<Tile> tiles(const KernelDef&, const LayerPlan&, const Step&, const DeviceInfo&);

// The rows that implement an op on a device kind.
std::vector<const KernelDef*> kernels_for(Op, const std::string& device_kind);
// Those of a step, the ones to try first in front.
std::vector<const KernelDef*> kernels_for(const LayerPlan&, const Step&, const DeviceInfo&);
std::span<const KernelDef> catalog();
const KernelDef* find_kernel(std::string_view name);  // nullptr: there is no such row

// Why no kernel's default tile takes one of the plan's steps on this device; "" where all have one.
std::string missing_kernel(const LayerPlan&, const DeviceInfo&);

// What executes one step: a catalogue row and a tile of it.
struct Choice {
  const KernelDef* kernel = nullptr;
  Tile tile;
  bool operator==(const Choice&) const = default;
};
std::string to_text(const Choice&);  // as choice_text(); "" without a kernel
// The default kernel and tile of every step, parallel to plan.steps: the first row whose default
// tile fits.
std::vector<Choice> default_choices(const LayerPlan&, const DeviceInfo&);

}  // namespace fse
