#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/device_model.h"
#include "core/names.h"
#include "core/variant.h"

namespace fse {

struct ServingCase;

// What the shape of a framework's kernel is made of; of one rank where ranks share it out.
enum class Dim {
  hidden,
  experts,
  gate_rows,
  shared_width,
  dense_width,
  vocab,
  heads,
  query_width,  // heads * head_dim, twice where a gate is projected beside it
  out_width,    // heads * head_dim
  kv_width,     // keys and values
  linear_in,
  linear_out,
  query_rank,  // latent attention from here on
  kv_rank,
  nope_dim,
  rope_dim,
  value_dim,
};
template <>
inline constexpr NameTable<Dim, 17> kNames<Dim>{{{Dim::hidden, "hidden"},
                                                 {Dim::experts, "experts"},
                                                 {Dim::gate_rows, "gate_rows"},
                                                 {Dim::shared_width, "shared_width"},
                                                 {Dim::dense_width, "dense_width"},
                                                 {Dim::vocab, "vocab"},
                                                 {Dim::heads, "heads"},
                                                 {Dim::query_width, "query_width"},
                                                 {Dim::out_width, "out_width"},
                                                 {Dim::kv_width, "kv_width"},
                                                 {Dim::linear_in, "linear_in"},
                                                 {Dim::linear_out, "linear_out"},
                                                 {Dim::query_rank, "query_rank"},
                                                 {Dim::kv_rank, "kv_rank"},
                                                 {Dim::nope_dim, "nope_dim"},
                                                 {Dim::rope_dim, "rope_dim"},
                                                 {Dim::value_dim, "value_dim"}}};

// "2*shared_width + heads*rope_dim": a sum of products of numbers and dims.
struct Width {
  struct Term {
    double factor = 1;
    std::vector<Dim> dims;
  };
  std::vector<Term> terms;
};
std::optional<Width> parse_width(std::string_view text);  // nothing for any other text
double value_of(const Width&, const ServingCase&);

// gemm: weights [n, k]. elementwise: one read and one write of [tokens, width]. experts: the
// grouped kernel, all stages. all_reduce: [tokens, width] in 16 bits over the ranks.
enum class KernelWork { gemm, elementwise, experts, all_reduce };
template <>
inline constexpr NameTable<KernelWork, 4> kNames<KernelWork>{
    {{KernelWork::gemm, "gemm"},
     {KernelWork::elementwise, "elementwise"},
     {KernelWork::experts, "experts"},
     {KernelWork::all_reduce, "all_reduce"}}};

// Which cases launch the kernel; what is left out does not matter.
struct KernelCondition {
  std::vector<Gate> gate;
  std::vector<Topk> topk;
  std::vector<Shared> shared;
  std::optional<bool> shared_gate;  // the layer has a learned one
  std::optional<bool> query_rank;   // the queries of latent attention are compressed, too
  std::optional<bool> ranks;        // there are several
};

// One launch of a framework's version: data of configs/frameworks.
struct InventoryKernel {
  std::string name;
  KernelWork work = KernelWork::elementwise;
  Width n, k;                  // gemm
  Width width;                 // elementwise, all_reduce
  bool layer_weights = false;  // gemm: stored as the layer's experts are, else in bf16
  bool side = false;           // shared=mlp_overlapped: on the second stream
  KernelCondition when;
  Provenance provenance;
};

// What is launched per layer of each kind and, for `head`, per step; in launch order.
struct KernelInventory {
  std::vector<InventoryKernel> attention, latent_attention, linear_attention, dense, moe, head;
};
struct InventorySection {
  std::string_view name;
  std::vector<InventoryKernel> KernelInventory::*kernels;
};
inline constexpr std::array<InventorySection, 6> kInventorySections{
    {{"attention", &KernelInventory::attention},
     {"latent_attention", &KernelInventory::latent_attention},
     {"linear_attention", &KernelInventory::linear_attention},
     {"dense", &KernelInventory::dense},
     {"moe", &KernelInventory::moe},
     {"head", &KernelInventory::head}}};

// One kernel of the inventory at work, in launch order.
struct KernelTime {
  std::string name;
  double us = 0;
};
// What a section takes with `tokens` rows. Kernels on the side stream overlap the others: what they
// add stands as "overlapped" where they end.
std::vector<KernelTime> kernel_times(const std::vector<InventoryKernel>&, const ServingCase&,
                                     const DeviceModel&, int tokens);

}  // namespace fse
