#include "experiments/sourced_ceilings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string>

#include "experiments/device_reader.h"

namespace fse {

namespace fs = std::filesystem;

namespace {

std::set<std::string> words_of(const std::string& product) {
  std::set<std::string> words;
  std::string word;
  for (const char c : product + " ")
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!word.empty()) {
      words.insert(std::move(word));
      word.clear();
    }
  return words;
}

void add(std::vector<Ceiling>& all, const std::string& device, const DeviceModel& model,
         const std::string& field, const std::string& what, double value, const char* unit) {
  for (const auto& [name, from] : model.provenance)
    if (name == field && value > 0)
      all.push_back({device, from.kind, what, value, unit,
                     fmt::format("{}, {} ({}: {})", from.source, from.date, model.name, field)});
}

}  // namespace

std::map<std::string, DeviceModel> known_models(const std::vector<Environment>& environments,
                                                const fs::path& configs_dir) {
  std::set<std::string> names;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(configs_dir / "devices", none))
    if (entry.path().extension() == ".yaml") names.insert(entry.path().stem().string());
  std::map<std::string, DeviceModel> models;
  for (const Environment& e : environments)
    for (const std::string& word : words_of(e.device.product))
      if (e.device.kind != "cpu" && names.contains(word) && !models.contains(e.device.name))
        models.emplace(e.device.name, find_device_model(word, configs_dir));
  return models;
}

std::vector<Ceiling> sourced_ceilings(const std::map<std::string, DeviceModel>& models) {
  std::vector<Ceiling> all;
  for (const auto& [device, model] : models) {
    add(all, device, model, "peak_gbs", "read_gbs", model.peak_gbs, "GB/s");
    add(all, device, model, "bf16_tflops", "peak_gflops", 1e3 * model.bf16_tflops, "GFLOP/s");
    add(all, device, model, "fp8_tflops", "peak_fp8_gflops", 1e3 * model.fp8_tflops, "GFLOP/s");
  }
  return all;
}

}  // namespace fse
