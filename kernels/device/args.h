#pragma once
// What a launch is given, and what its template arguments say about the layer. Plain data for host
// and device: no include, so that the run-time compilers and the host compiler all accept it.

namespace fse::gpu {

// Storage of the expert weights and what they are multiplied with, Shape::format. The activations
// x, h, y, shared_h, shared_out and out are f16 where the format is kF16, else bf16.
inline constexpr int kBf16 = 0;
inline constexpr int kF16 = 1;
inline constexpr int kFp8 = 2;             // e4m3 weights, 128x128 scales; bf16 activations
inline constexpr int kFp8Activations = 3;  // the same; activations rounded to e4m3 per 128 columns

// What is compiled in: one set of kernels per layer shape. A template argument, spelled
// "fse::gpu::Shape{0,2048,512,512}" in a name expression. As in every struct that is a template
// argument, the last field is never 0: hipRTC 5.2 does not find names whose trailing zeros the
// mangling drops.
struct Shape {
  int format;  // kBf16 .. kFp8Activations
  int hidden;
  int intermediate;  // of one expert index, as stored
  int experts;       // routed experts, E
};

// What varies from case to case under the same code.
struct Sizes {
  int tokens;
  int top_k;         // routed experts per token
  int choices;       // top_k, or top_k + slots where the shared expert is a slot
  int expert_count;  // E, or E + slots: expert indices the grouped kernels may see
  int slots;         // expert indices that store the shared expert
  int shared_width;  // stored width of the shared expert, at most slots * intermediate
  int row_begin;     // gate_gemm: rows of the router matrix, and their logits' row stride
  int row_end;
  int logits_stride;
};

// How logits become ids and weights; see core/routing.h for the rule.
struct Routing {
  int sigmoid;  // 0: softmax
  int groups, groups_kept;
  int sum_of_top2;  // group score; 0: max
  int renormalize;
  float scaling;
  int gated;  // 1: the shared weight is the sigmoid of a logit; 0: shared_constant
  float shared_constant;
  int append_slots;  // shared=slot: ids and weights of the slots follow the routed ones
};

// One struct for every kernel of a layer; a kernel reads the fields its op declares. Activations
// are 16 bit but for the f32 logits, scores and weights.
struct Args {
  Sizes n;
  Routing r;
  // Weights, laid out as in core/weights.h.
  const void* router;  // bf16 [E + gate_rows, hidden]
  const float* selection_bias;
  const void* gate_up;
  const void* down;
  const float* gate_up_scale;
  const float* down_scale;
  // Buffers, shapes as in core/plan.h.
  const void* x;
  float* router_logits;       // topk, score: stride n.logits_stride
  const float* shared_logit;  // of token 0: shared_logits, or router_logits + E
  int shared_logit_stride;    // 1, or n.logits_stride
  float* gate_out;            // gate_gemm: the logits of row_begin, token 0
  float* scores;
  int* topk_ids;
  float* topk_weights;
  float* shared_weight;  // nullptr where the plan has none
  int* expert_offsets;
  int* sorted_pairs;
  void* h;
  void* y;
  void* shared_h;
  void* shared_out;
  void* out;
  // Grid barriers and mail of the cooperative form: kBarrierWords words, zero before the first
  // launch. What a launch leaves in them the next one expects, whichever tile it has.
  unsigned* barrier;
  float* products;  // of the vendor's library, see library.h
};

// Words of `barrier`: counters of 4 barriers; the number of launches with mail (mail.h), and two
// counters of theirs; two words for each logit of up to 8 tokens.
inline constexpr int kBarrierStride = 32;  // a counter has a cache line of its own
inline constexpr int kBarriers = 4;
inline constexpr int kLaunchCount = kBarriers;
inline constexpr int kMailBegin = (kBarriers + 3) * kBarrierStride;
inline constexpr int kMailTokens = 8, kMailRows = 1024 + 1;  // kMaxExperts and the shared gate
inline constexpr int kBarrierWords = kMailBegin + 2 * kMailTokens * kMailRows;

}  // namespace fse::gpu
