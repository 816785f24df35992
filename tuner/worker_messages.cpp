#include "tuner/worker_messages.h"

#include "core/error.h"

namespace fse {

ChoiceName name_of(const Choice& choice) {
  return {choice.kernel->name, to_text(choice.tile)};
}

Choice choice_of(const ChoiceName& name) {
  const KernelDef* kernel = find_kernel(name.kernel);
  if (!kernel) fail_data("kernel '" + name.kernel + "' is not in the catalogue");
  return {kernel, tile_from_text(name.tile)};
}

std::vector<ChoiceName> names_of(std::span<const Choice> choices) {
  std::vector<ChoiceName> names;
  for (const Choice& choice : choices) names.push_back(name_of(choice));
  return names;
}

std::vector<Choice> choices_of(const std::vector<ChoiceName>& names) {
  std::vector<Choice> choices;
  for (const ChoiceName& name : names) choices.push_back(choice_of(name));
  return choices;
}

std::string to_line(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace fse
