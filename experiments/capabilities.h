#pragma once
#include <filesystem>
#include <string>

namespace fse {

// Every value of every axis, whether the device can run it, and why not: for one model, or, where
// `model` is empty, for the device whatever the layer. Throws Refused for a refused model; returns
// 2 where the device runs no variant of it, else 0.
int print_capabilities(const std::string& model, const std::string& device,
                       const std::filesystem::path& configs_dir);

}  // namespace fse
