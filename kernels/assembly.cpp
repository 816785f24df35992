#include "kernels/assembly.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <sstream>

#include "core/error.h"
#include "kernels/gpu/layer.h"

namespace fse {

namespace {

constexpr const char* kColumns =
    "instance\tdefault\tthreads\tlds_bytes\tvector_registers\tscalar_registers\tspill_bytes\t"
    "stack_bytes\tmatrix\twide_loads\tnarrow_loads\toccupancy";

// "    .vgpr_count:     80" of the metadata at the end.
int number_of(std::string_view text, std::string_view key) {
  const size_t at = text.rfind(key);
  if (at == std::string_view::npos)
    fail_data(fmt::format("assembly: no {}, expected the metadata of a kernel", key));
  const size_t begin = text.find_first_not_of(' ', at + key.size());
  int value = 0;
  std::from_chars(text.data() + begin, text.data() + text.size(), value);
  return value;
}

std::string first_word(const std::string& line) {
  const size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string::npos) return {};
  return line.substr(begin, line.find_first_of(" \t", begin) - begin);
}

// CDNA has 512 vector registers of a lane in a SIMD, given out by 8, four SIMDs and 8 waves in
// each.
int waves_per_simd(int registers, int threads, int lds_bytes, int device_lds) {
  constexpr int kRegisters = 512, kUnit = 8, kMostWaves = 8, kSimds = 4, kWave = 64;
  const int given = std::max(kUnit, (registers + kUnit - 1) / kUnit * kUnit);
  const int by_registers = std::min(kMostWaves, kRegisters / given);
  if (lds_bytes == 0) return by_registers;
  const int waves = device_lds / lds_bytes * (threads / kWave);
  return std::min(by_registers, (waves + kSimds - 1) / kSimds);
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream stream(line);
  for (std::string cell; std::getline(stream, cell, '\t');) cells.push_back(cell);
  return cells;
}

Assembly row_of(const std::vector<std::string>& cells) {
  size_t at = 0;
  const auto number = [&] { return std::stoi(cells.at(at++)); };
  Assembly a;
  a.instance = cells.at(at++);
  a.is_default = number() != 0;
  a.threads = number();
  a.lds_bytes = number();
  a.vector_registers = number();
  a.scalar_registers = number();
  a.spill_bytes = number();
  a.stack_bytes = number();
  a.matrix = cells.at(at++);
  a.wide_loads = number();
  a.narrow_loads = number();
  a.occupancy = number();
  return a;
}

}  // namespace

Assembly read_assembly(std::string_view text, const std::string& arch, int threads, int lds_bytes) {
  Assembly a{.threads = threads};
  a.lds_bytes = lds_bytes + number_of(text, ".group_segment_fixed_size:");
  a.vector_registers = number_of(text, ".vgpr_count:");
  a.scalar_registers = number_of(text, ".sgpr_count:");
  a.spill_bytes = 4 * number_of(text, ".vgpr_spill_count:");
  a.stack_bytes = number_of(text, ".private_segment_fixed_size:");
  std::map<std::string, int> matrix;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    const std::string word = first_word(line);
    if (word.starts_with("v_mfma") || word.starts_with("v_smfmac")) ++matrix[word];
    if (!word.starts_with("global_load_") && !word.starts_with("flat_load_") &&
        !word.starts_with("buffer_load_"))
      continue;
    const bool wide = word.ends_with("dwordx4") && !word.starts_with("flat_");
    ++(wide ? a.wide_loads : a.narrow_loads);
  }
  for (const auto& [name, count] : matrix)
    a.matrix += fmt::format("{}{}:{}", a.matrix.empty() ? "" : " ", name, count);
  if (a.matrix.empty()) a.matrix = "-";
  a.occupancy = waves_per_simd(a.vector_registers, threads, a.lds_bytes,
                               static_cast<int>(typical_gpu(arch).lds_bytes));
  return a;
}

std::string to_text(const AssemblyTable& table) {
  std::string text = fmt::format("# {}\n{}\n", table.compiler, kColumns);
  for (const Assembly& a : table.rows)
    text += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n", a.instance,
                        int{a.is_default}, a.threads, a.lds_bytes, a.vector_registers,
                        a.scalar_registers, a.spill_bytes, a.stack_bytes, a.matrix, a.wide_loads,
                        a.narrow_loads, a.occupancy);
  return text;
}

AssemblyTable read_assembly_table(const std::filesystem::path& file) {
  std::ifstream stream(file);
  AssemblyTable table;
  std::string line;
  std::getline(stream, line);
  if (line.starts_with("# ")) table.compiler = line.substr(2);
  if (!std::getline(stream, line) || line != kColumns || table.compiler.empty())
    fail_data(fmt::format("{}: not a table of assembly, expected '# COMPILER' and the columns {}",
                          file.string(), kColumns));
  for (int number = 3; std::getline(stream, line); ++number) {
    try {
      table.rows.push_back(row_of(split(line)));
    } catch (const std::logic_error&) {  // of at() and stoi()
      fail_data(fmt::format("{}:{}: '{}', expected 12 columns", file.string(), number, line));
    }
  }
  return table;
}

namespace {

void judge(const Assembly& now, const Assembly& was, std::vector<std::string>& worse) {
  const auto say = [&](const char* what, auto is, auto before) {
    worse.push_back(fmt::format("{}: {} {}, {} recorded", now.instance, what, is, before));
  };
  if (now.spill_bytes > was.spill_bytes) say("spill_bytes", now.spill_bytes, was.spill_bytes);
  if (now.wide_loads < was.wide_loads) say("wide_loads", now.wide_loads, was.wide_loads);
  if (now.narrow_loads > was.narrow_loads) say("narrow_loads", now.narrow_loads, was.narrow_loads);
  if (now.occupancy < was.occupancy) say("occupancy", now.occupancy, was.occupancy);
  if (now.matrix != was.matrix) say("matrix", now.matrix, was.matrix);
}

}  // namespace

std::vector<std::string> regressions(const AssemblyTable& now, const AssemblyTable& recorded) {
  std::vector<std::string> worse;
  for (const Assembly& a : now.rows) {
    const bool streams =
        a.instance.starts_with("fse::gpu::stream<") || a.instance.starts_with("fse::gpu::layer<");
    if (a.is_default && a.spill_bytes > 0)
      worse.push_back(
          fmt::format("{}: a default tile spills {} bytes of a thread", a.instance, a.spill_bytes));
    if (streams && a.matrix == "-")
      worse.push_back(fmt::format("{}: no matrix instruction", a.instance));
    if (streams && a.wide_loads == 0)
      worse.push_back(fmt::format("{}: no load of 16 bytes", a.instance));
    if (now.compiler != recorded.compiler) continue;
    for (const Assembly& was : recorded.rows)
      if (was.instance == a.instance) judge(a, was, worse);
  }
  return worse;
}

}  // namespace fse
