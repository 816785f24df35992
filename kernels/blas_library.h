#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/product.h"
#include "kernels/vendor_library.h"

namespace fse {

// The numbers that cuBLASLt and hipBLASLt spell differently. They are part of the libraries' binary
// interface; tests compare them with the vendors' headers where those are found.
struct BlasNumbers {
  int compute_f32, transposed, transpose_a;
  int max_workspace;       // attributes of a preference
  int alignments[4];       // of A, B, C and D; -1: the library asks for none
  size_t algorithm_bytes;  // of an algorithm, which a proposal begins with
};
BlasNumbers blas_numbers(Vendor);
std::string blas_name(Vendor);  // "cuBLASLt"

// A vendor's matrix products with a choice of algorithms. cuBLASLt and hipBLASLt have the same
// functions under two prefixes.
struct Blas {
  VendorLibrary library;
  std::string version;  // "13.1.0"
  BlasNumbers numbers;

  using Object = void*;
  int (*create)(Object*);
  int (*destroy)(Object);
  int (*create_matrix)(Object*, int type, uint64_t rows, uint64_t columns, int64_t stride);
  int (*destroy_matrix)(Object);
  int (*create_product)(Object*, int compute_type, int scale_type);
  int (*destroy_product)(Object);
  int (*set_product)(Object, int attribute, const void* value, size_t bytes);
  int (*create_preference)(Object*);
  int (*destroy_preference)(Object);
  int (*set_preference)(Object, int attribute, const void* value, size_t bytes);
  int (*propose)(Object handle, Object product, Object a, Object b, Object c, Object d,
                 Object preference, int most, void* proposals, int* count);
  int (*multiply)(Object handle, Object product, const void* alpha, const void* a, Object a_matrix,
                  const void* b, Object b_matrix, const void* beta, const void* c, Object c_matrix,
                  void* d, Object d_matrix, const void* algorithm, void* workspace, size_t bytes,
                  void* stream);
};
std::string to_text(const Blas&);  // "cuBLASLt 13.1.0"

// Looks in `directories` first, then where the system and the vendor keep it. Throws
// Error(environment) where it is missing, naming what was tried. hipBLASLt tells its version only
// where there is a device.
Blas open_blas(const std::string& arch, const std::vector<std::filesystem::path>& directories = {});

// The library on one device: that which is the current one when this is made.
class BlasHandle {
 public:
  explicit BlasHandle(Blas);
  const Blas& blas() const { return blas_; }
  Blas::Object get() const { return handle_.get(); }

 private:
  Blas blas_;
  std::shared_ptr<void> handle_;
};

// Products of one shape, ready to be run with an algorithm that the library proposes for it.
class BlasProduct {
 public:
  // `alike`: that shape with all the pointers it will be run with: of their alignment the library
  // makes use. Algorithm 0 is its own first choice. Throws AttemptError(illegal) where it proposes
  // fewer.
  BlasProduct(std::shared_ptr<const BlasHandle>, std::span<const Product> alike, int algorithm,
              int64_t workspace_bytes);
  int64_t workspace_bytes() const { return workspace_bytes_; }  // what the algorithm needs
  // Puts it on the stream. Throws AttemptError(launch_failed).
  void run(const Product&, void* workspace, void* stream) const;

 private:
  void describe(const Product&);
  std::vector<std::byte> proposals(std::span<const Product> alike, int64_t workspace_bytes,
                                   int& count) const;

  std::shared_ptr<const BlasHandle> handle_;
  std::shared_ptr<void> product_, weights_, in_, out_;
  std::vector<std::byte> algorithm_;
  int64_t workspace_bytes_ = 0;
};

}  // namespace fse
