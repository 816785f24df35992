#pragma once
#include <string>
#include <vector>

#include "kernels/catalog.h"
#include "kernels/device/args.h"
#include "kernels/product.h"

namespace fse {

// The catalogue's rows that call the vendor's library: gate_gemm, mlp_stage1, mlp_stage2. A tile is
// which of the algorithms that the library proposes, best first by its own judgement, and the
// workspace that they may use. What the library cannot do of an op, a kernel of device/library.h
// does behind it.
std::vector<KernelDef> gpu_library_kernels();

// The products of a step that such a row runs, in order; pointers are those of `args`.
std::vector<Product> library_products(const LayerPlan&, const Step&, const gpu::Args&);
// Of Args::products; 0 where the products are the op's result.
int64_t library_scratch_bytes(const LayerPlan&, const Step&);

// A tile's axes.
int library_algo(const Tile&);
int64_t library_workspace_bytes(const Tile&);

}  // namespace fse
