#include "kernels/blas_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "core/error.h"
#include "core/outcome.h"

namespace fse {
namespace {

constexpr std::array<std::string_view, 3> kAmdLibraries{"libhipblaslt.so.1", "libhipblaslt.so.0",
                                                        "libhipblaslt.so"};
constexpr std::array<std::string_view, 3> kNvidiaLibraries{"libcublasLt.so.13", "libcublasLt.so.12",
                                                           "libcublasLt.so"};
constexpr int kMostProposals = 8;

// What both vendors number alike: cudaDataType and hipDataType.
int data_type(Element element) {
  switch (element) {
    case Element::f32:
      return 0;
    case Element::f16:
      return 2;
    case Element::bf16:
      return 14;
    default:
      throw std::logic_error("a library multiplies no integers");
  }
}

// What the library proposes lies in an array of these, behind the algorithm.
struct Proposal {
  size_t workspace_bytes;
  int state;  // 0: can be run
  float waves;
  int reserved[4];
};

void check_blas(const Blas& blas, int status, const char* what) {
  if (status == 0) return;
  throw AttemptError(Status::launch_failed,
                     fmt::format("{}: status {} of {}", to_text(blas), status, what));
}

template <class Create, class... Arguments>
std::shared_ptr<void> make(const Blas& blas, const char* what, int (*destroy)(void*), Create create,
                           Arguments... arguments) {
  void* object = nullptr;
  check_blas(blas, create(&object, arguments...), what);
  return {object, [destroy](void* o) { static_cast<void>(destroy(o)); }};
}

void load_functions(Blas& blas, const std::string& prefix) {
  const VendorLibrary& l = blas.library;
  l.require(prefix + "Create", blas.create);
  l.require(prefix + "Destroy", blas.destroy);
  l.require(prefix + "MatrixLayoutCreate", blas.create_matrix);
  l.require(prefix + "MatrixLayoutDestroy", blas.destroy_matrix);
  l.require(prefix + "MatmulDescCreate", blas.create_product);
  l.require(prefix + "MatmulDescDestroy", blas.destroy_product);
  l.require(prefix + "MatmulDescSetAttribute", blas.set_product);
  l.require(prefix + "MatmulPreferenceCreate", blas.create_preference);
  l.require(prefix + "MatmulPreferenceDestroy", blas.destroy_preference);
  l.require(prefix + "MatmulPreferenceSetAttribute", blas.set_preference);
  l.require(prefix + "MatmulAlgoGetHeuristic", blas.propose);
  l.require(prefix + "Matmul", blas.multiply);
}

// 130100 is 13.1.0; hipBLASLt's 100201 is 1.2.1, and it asks for a handle.
std::string query_version(const Blas& blas) {
  if (blas.library.name == "cuBLASLt") {
    size_t (*version)() = nullptr;
    blas.library.require("cublasLtGetVersion", version);
    const size_t packed = version();
    return fmt::format("{}.{}.{}", packed / 10'000, packed / 100 % 100, packed % 100);
  }
  int (*version)(void*, int*) = nullptr;
  blas.library.require("hipblasLtGetVersion", version);
  void* handle = nullptr;
  int packed = 0;
  if (blas.create(&handle) != 0 || version(handle, &packed) != 0)
    throw Error(ErrorKind::environment,
                fmt::format("{} does not say its version: is there a GPU?", blas.library.file));
  static_cast<void>(blas.destroy(handle));
  return fmt::format("{}.{}.{}", packed / 100'000, packed / 100 % 1000, packed % 100);
}

// As large as it is for all of them, up to the 256 bytes that a library takes for granted.
uint32_t alignment_of(std::span<const Product> alike, const void* (*pointer)(const Product&)) {
  uintptr_t bits = 256;
  for (const Product& p : alike) bits |= reinterpret_cast<uintptr_t>(pointer(p));
  return uint32_t{1} << std::countr_zero(bits);
}

}  // namespace

BlasNumbers blas_numbers(Vendor vendor) {
  if (vendor == Vendor::amd)
    return {.compute_f32 = 2,
            .transposed = 112,
            .transpose_a = 0,
            .max_workspace = 1,
            .alignments = {-1, -1, -1, -1},
            .algorithm_bytes = 24};
  return {.compute_f32 = 68,
          .transposed = 1,
          .transpose_a = 3,
          .max_workspace = 1,
          .alignments = {5, 6, 7, 8},
          .algorithm_bytes = 64};
}

std::string blas_name(Vendor vendor) {
  return vendor == Vendor::amd ? "hipBLASLt" : "cuBLASLt";
}

std::string to_text(const Blas& blas) {
  return blas.library.name + " " + blas.version;
}

Blas open_blas(const std::string& arch, const std::vector<std::filesystem::path>& directories) {
  const bool amd = vendor_of(arch) == Vendor::amd;
  Blas blas{};
  blas.library = open_vendor_library(blas_name(vendor_of(arch)), arch,
                                     amd ? kAmdLibraries : kNvidiaLibraries, directories);
  blas.numbers = blas_numbers(vendor_of(arch));
  load_functions(blas, amd ? "hipblasLt" : "cublasLt");
  blas.version = query_version(blas);
  return blas;
}

BlasHandle::BlasHandle(Blas blas)
    : blas_(std::move(blas)),
      handle_(make(blas_, "creating a handle", blas_.destroy, blas_.create)) {}

// Their matrices are columns beside each other: a row-major one is there its own transpose.
void BlasProduct::describe(const Product& p) {
  const Blas& blas = handle_->blas();
  const auto matrix = [&](Element element, int columns, int rows, int64_t stride) {
    return make(blas, "describing a matrix", blas.destroy_matrix, blas.create_matrix,
                data_type(element), static_cast<uint64_t>(columns), static_cast<uint64_t>(rows),
                stride);
  };
  weights_ = matrix(p.element, p.depth, p.rows, p.weights_stride);
  in_ = matrix(p.element, p.depth, p.tokens, p.in_stride);
  out_ = matrix(p.out_element, p.rows, p.tokens, p.out_stride);
  product_ = make(blas, "describing a product", blas.destroy_product, blas.create_product,
                  blas.numbers.compute_f32, data_type(Element::f32));
  const int32_t transposed = blas.numbers.transposed;
  check_blas(
      blas,
      blas.set_product(product_.get(), blas.numbers.transpose_a, &transposed, sizeof transposed),
      "transposing the weights");
}

std::vector<std::byte> BlasProduct::proposals(std::span<const Product> alike,
                                              int64_t workspace_bytes, int& count) const {
  const Blas& blas = handle_->blas();
  const auto preference =
      make(blas, "making a preference", blas.destroy_preference, blas.create_preference);
  const auto prefer = [&](int attribute, const void* value, size_t bytes) {
    check_blas(blas, blas.set_preference(preference.get(), attribute, value, bytes),
               "setting a preference");
  };
  const auto workspace = static_cast<uint64_t>(workspace_bytes);
  prefer(blas.numbers.max_workspace, &workspace, sizeof workspace);
  const auto out = [](const Product& p) -> const void* { return p.out; };
  const std::array<const void* (*)(const Product&), 4> pointers{
      [](const Product& p) { return p.weights; }, [](const Product& p) { return p.in; }, out, out};
  for (size_t i = 0; i < pointers.size(); ++i) {
    if (blas.numbers.alignments[i] < 0) continue;
    const uint32_t alignment = alignment_of(alike, pointers[i]);
    prefer(blas.numbers.alignments[i], &alignment, sizeof alignment);
  }
  std::vector<std::byte> all(kMostProposals * (blas.numbers.algorithm_bytes + sizeof(Proposal)));
  const int status =
      blas.propose(handle_->get(), product_.get(), weights_.get(), in_.get(), out_.get(),
                   out_.get(), preference.get(), kMostProposals, all.data(), &count);
  if (status != 0)  // "not supported" is how cuBLASLt says that it has none
    throw AttemptError(Status::illegal,
                       fmt::format("{} proposes no algorithm: status {}", to_text(blas), status));
  return all;
}

BlasProduct::BlasProduct(std::shared_ptr<const BlasHandle> handle, std::span<const Product> alike,
                         int algorithm, int64_t workspace_bytes)
    : handle_(std::move(handle)) {
  const Product& p = alike.front();
  describe(p);
  int count = 0;
  const std::vector<std::byte> all = proposals(alike, workspace_bytes, count);
  if (algorithm >= count)
    throw AttemptError(
        Status::illegal,
        fmt::format("{} proposes {} algorithms for {} rows, {} tokens and depth {}, there is no {}",
                    to_text(handle_->blas()), count, p.rows, p.tokens, p.depth, algorithm));
  const size_t bytes = handle_->blas().numbers.algorithm_bytes;
  const std::byte* mine = all.data() + static_cast<size_t>(algorithm) * (bytes + sizeof(Proposal));
  Proposal proposal;
  std::memcpy(&proposal, mine + bytes, sizeof proposal);
  if (proposal.state != 0)
    throw AttemptError(Status::illegal,
                       fmt::format("{}: algorithm {} cannot be run: state {}",
                                   to_text(handle_->blas()), algorithm, proposal.state));
  algorithm_.assign(mine, mine + bytes);
  workspace_bytes_ = static_cast<int64_t>(proposal.workspace_bytes);
}

void BlasProduct::run(const Product& p, void* workspace, void* stream) const {
  const Blas& blas = handle_->blas();
  const float beta = p.add ? 1 : 0;
  check_blas(
      blas,
      blas.multiply(handle_->get(), product_.get(), &p.alpha, p.weights, weights_.get(), p.in,
                    in_.get(), &beta, p.out, out_.get(), p.out, out_.get(), algorithm_.data(),
                    workspace, static_cast<size_t>(workspace_bytes_), stream),
      "multiplying");
}

}  // namespace fse
