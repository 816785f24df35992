#include "kernels/emulator/counters.h"

#include <algorithm>
#include <bit>
#include <set>

namespace fse {

namespace {

using Lines = std::vector<std::vector<bool>>;

Lines lines_of(const EmulatedLaunch& launch) {
  Lines lines;
  for (const DeviceMemory& m : launch.memory)
    lines.emplace_back((m.bytes + kLineBytes - 1) / kLineBytes);
  return lines;
}

void join(Lines& to, const Lines& from) {
  for (size_t b = 0; b < to.size(); ++b)
    for (size_t i = 0; i < to[b].size(); ++i)
      if (from[b][i]) to[b][i] = true;
}

// Eight groups of eight lanes for 16 bytes: {0-3, 20-23} {4-7, 16-19} {8-11, 28-31} {12-15, 24-27}
// and the same 32 lanes on.
int group_of_amd_read(int lane) {
  constexpr int kGroups[8] = {0, 1, 2, 3, 1, 0, 3, 2};  // of four lanes each
  return lane / 32 * 4 + kGroups[lane % 32 / 4];
}

}  // namespace

LdsCost lds_cost(std::span<const int> at, uint64_t lanes, int bytes, bool load, int banks) {
  const int together = std::max(1, banks * 4 / std::max(bytes, 4));
  const bool amd_read = load && bytes == 16 && at.size() == 64 && banks == 32;
  std::map<int, std::vector<std::set<int>>> groups;  // words of each bank
  for (size_t lane = 0; lane < at.size(); ++lane) {
    if (!(lanes >> lane & 1)) continue;
    const int l = static_cast<int>(lane);
    auto& of_bank = groups[amd_read ? group_of_amd_read(l) : l / together];
    of_bank.resize(static_cast<size_t>(banks));
    for (int word = at[lane] / 4; word <= (at[lane] + bytes - 1) / 4; ++word)
      of_bank[static_cast<size_t>(word % banks)].insert(word);
  }
  LdsCost cost{0, static_cast<int>(groups.size())};
  for (const auto& [group, of_bank] : groups) {
    size_t most = 1;
    for (const std::set<int>& words : of_bank) most = std::max(most, words.size());
    cost.cycles += static_cast<int>(most);
  }
  return cost;
}

LaunchCounters::LaunchCounters(const EmulatedLaunch& launch, int banks)
    : launch_(launch), banks_(banks), loaded_(lines_of(launch)), stored_(lines_of(launch)) {
  for (const DeviceMemory& m : launch.memory) sum_.buffers.push_back({.name = m.name});
}

KernelCounters LaunchCounters::result() const {
  KernelCounters c = sum_;
  for (size_t i = 0; i < c.buffers.size(); ++i) {
    BufferTraffic& b = c.buffers[i];
    b.loaded_lines = std::count(loaded_[i].begin(), loaded_[i].end(), true);
    b.stored_lines = std::count(stored_[i].begin(), stored_[i].end(), true);
    c.loaded_bytes += b.loaded_bytes, c.stored_bytes += b.stored_bytes;
    c.loaded_lines += b.loaded_lines, c.stored_lines += b.stored_lines;
  }
  return c;
}

LaunchCounters::Part::Part(LaunchCounters& all)
    : all_(all), loaded_(lines_of(all.launch_)), stored_(lines_of(all.launch_)) {
  sum_.buffers.resize(all.launch_.memory.size());
}

LaunchCounters::Part::~Part() {
  for (const auto& [key, instruction] : instructions_)
    for (const auto& [visit, access] : instruction.open) close(access);
  const std::lock_guard lock(all_.mutex_);
  KernelCounters& to = all_.sum_;
  for (size_t i = 0; i < sum_.buffers.size(); ++i) {
    to.buffers[i].loaded_bytes += sum_.buffers[i].loaded_bytes;
    to.buffers[i].stored_bytes += sum_.buffers[i].stored_bytes;
  }
  to.lds_bytes += sum_.lds_bytes;
  to.lds_cycles += sum_.lds_cycles;
  to.lds_conflicts += sum_.lds_conflicts;
  to.matrix_instructions += sum_.matrix_instructions;
  to.matrix_flops += sum_.matrix_flops;
  to.wave_accesses += sum_.wave_accesses;
  to.divergent_accesses += sum_.divergent_accesses;
  join(all_.loaded_, loaded_);
  join(all_.stored_, stored_);
}

void LaunchCounters::Part::close(const Access& access) {
  const auto wave = static_cast<size_t>(all_.launch_.wave);
  ++sum_.wave_accesses;
  if (std::popcount(access.lanes) < all_.launch_.wave) ++sum_.divergent_accesses;
  if (!access.lds) return;
  const LdsCost cost = lds_cost(std::span(access.at).first(wave), access.lanes, access.bytes,
                                access.load, all_.banks_);
  sum_.lds_cycles += cost.cycles;
  sum_.lds_conflicts += cost.cycles - cost.least;
}

// Lanes run one after the other here: what they do together on a GPU is each one's n-th time at the
// same instruction.
void LaunchCounters::Part::note(int wave, int lane, const void* code, int at, int bytes, bool load,
                                bool lds) {
  Instruction& instruction = instructions_[{wave, code}];
  const uint32_t visit = instruction.visits[static_cast<size_t>(lane)]++;
  Access& access = instruction.open[visit];
  access.at[static_cast<size_t>(lane)] = at;
  access.lanes |= uint64_t{1} << lane;
  access.bytes = bytes;
  access.load = load;
  access.lds = lds;
  if (std::popcount(access.lanes) < all_.launch_.wave) return;
  close(access);
  instruction.open.erase(visit);
}

void LaunchCounters::Part::lds(int wave, int lane, const void* code, int at, int bytes, bool load) {
  sum_.lds_bytes += bytes;
  note(wave, lane, code, at, bytes, load, true);
}

void LaunchCounters::Part::global(int wave, int lane, const void* code, size_t buffer, int64_t at,
                                  int bytes, bool load) {
  BufferTraffic& b = sum_.buffers[buffer];
  (load ? b.loaded_bytes : b.stored_bytes) += bytes;
  auto& lines = (load ? loaded_ : stored_)[buffer];
  for (int64_t line = at / kLineBytes; line <= (at + bytes - 1) / kLineBytes; ++line)
    lines[static_cast<size_t>(line)] = true;
  note(wave, lane, code, 0, bytes, load, false);
}

void LaunchCounters::Part::matrix(gpu::host::MatrixForm form) {
  using Form = gpu::host::MatrixForm;
  ++sum_.matrix_instructions;
  const int columns = form == Form::m16n8k16 ? 8 : 16;
  const int depth = form == Form::mfma_16x16x128 ? 128 : form == Form::mfma_16x16x32 ? 32 : 16;
  sum_.matrix_flops += 2.0 * 16 * columns * depth;
}

}  // namespace fse
