#include <fmt/format.h>

#include "core/config_keys.h"
#include "core/dtype.h"
#include "core/moe_config.h"

namespace fse {
namespace {

using nlohmann::json;

constexpr auto kQuantization = keys::spellings("quantization_config", "compression_config");
constexpr auto kDType = keys::spellings("dtype", "torch_dtype");
constexpr auto kExpertDType = keys::spellings("expert_dtype");
constexpr std::pair<std::string_view, std::string_view> kPlain[] = {
    {"bfloat16", "bf16"}, {"float16", "f16"}, {"float32", "f32"}};

// Storage is never a reason to refuse a layer, so nothing here throws on a value it does not know.
std::string text_or(const json& object, const char* key, const char* otherwise) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return otherwise;
  return found->is_string() ? found->get<std::string>() : shown(*found);
}

// "compressed-tensors, int-quantized, 4 bit group"
std::string describe_groups(const json& quantization) {
  std::string text = text_or(quantization, "format", "");
  const auto groups = quantization.find("config_groups");
  if (groups == quantization.end() || !groups->is_object() || groups->empty()) return text;
  const json& first = groups->begin().value();
  if (!first.is_object()) return text;
  const auto weights = first.find("weights");
  if (weights == first.end() || !weights->is_object()) return text;
  return fmt::format("{}{}{} bit {}", text, text.empty() ? "" : ", ",
                     text_or(*weights, "num_bits", "?"), text_or(*weights, "strategy", "?"));
}

Storage read_quantized(const json& quantization) {
  if (!quantization.is_object()) return {"quantized: " + shown(quantization), false};
  const std::string method = text_or(quantization, "quant_method", "unnamed");
  const std::string format = text_or(quantization, "fmt", "e4m3");
  if (method != "fp8") {
    const std::string groups = describe_groups(quantization);
    return {groups.empty() ? method : method + ", " + groups, false};
  }
  const auto block = quantization.find("weight_block_size");
  const bool blocks = block != quantization.end() && !block->is_null();
  const bool e4m3 = format == "e4m3" || format == "float8_e4m3fn" || format == "e4m3fn";
  if (blocks && e4m3 && *block == json{kScaleBlock, kScaleBlock}) return {"fp8_block128"};
  return {fmt::format("fp8 {}, {}", format, blocks ? "blocks of " + shown(*block) : "per tensor"),
          false};
}

Storage read_plain(const json& value) {
  const std::string name = value.is_string() ? value.get<std::string>() : shown(value);
  for (const auto& [spelled, storage] : kPlain)
    if (name == spelled) return {std::string(storage)};
  return {name, false};
}

}  // namespace

Storage read_storage(const MoeConfig& config) {
  const auto experts = find_stated(config.object, kExpertDType);
  if (experts && *experts->value != "fp8" && *experts->value != "bfloat16")
    return {"experts in " + shown(*experts->value), false, experts->key};
  // One key at a time: that two of them disagree is no reason to refuse the layer either.
  const auto first_of = [&](Keys all, auto read) -> std::optional<Storage> {
    for (const ConfigObject* object : {&config.object, &config.root})
      for (const std::string_view& key : all)
        if (const auto stated = find_stated(*object, {&key, 1})) {
          Storage storage = read(*stated->value);
          storage.key = key;
          return storage;
        }
    return std::nullopt;
  };
  if (const auto quantized = first_of(kQuantization, read_quantized)) return *quantized;
  return first_of(kDType, read_plain).value_or(Storage{"bf16"});
}

}  // namespace fse
