#pragma once
#include <string>

#include "tuner/dispatch_store.h"
#include "tuner/exchange.h"

namespace fse {

// fselab's own winners in other programs' formats: of every token count the fastest layer whose
// experts ran in two stages. Throws Error(usage) where there is none, where the layers have several
// routings, or where the format has no words for them.

// Settings of vLLM's and SGLang's Triton kernel that are nearest to the winner of the first stage,
// and no other keys: SGLang takes each for a batch size, and both hand all settings to the kernel.
// fselab did not measure that kernel: they are where its tuning may begin.
ForeignTable vllm_of(const LayerDispatch&);
// The name under which vLLM looks for it; SGLang writes a blank into the block shape.
std::string vllm_name_of(const LayerDispatch&, const DeviceInfo&, bool sglang);

// AITER's columns with fselab's kernels and tiles as names: for comparing, since AITER cannot run
// them. A slot counts as one of the experts and of the choices, as AITER's own tables have it.
ForeignTable aiter_of(const LayerDispatch&, const DeviceInfo&);

}  // namespace fse
