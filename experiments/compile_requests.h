#pragma once
#include <map>
#include <memory>
#include <string>

#include "kernels/catalog.h"
#include "kernels/jit.h"

namespace fse {

// With the user's cache. Throws Error(environment) where the architecture's compiler is missing.
std::unique_ptr<Jit> make_jit(const std::string& arch);

// The instance of a choice, where it is compiled, by its name.
void add_request(const Choice&, const LayerPlan&, const Step&, std::map<std::string, JitRequest>&);

// Compiles them on all cores into the user's cache; prints each failure and a count. Returns 0 when
// everything compiled, else 1.
int compile_requests(const std::map<std::string, JitRequest>&, const std::string& arch);

}  // namespace fse
