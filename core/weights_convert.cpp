#include "core/weights_convert.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>

#include "core/convert.h"
#include "core/error.h"
#include "core/strict_json.h"

namespace fse {
namespace {

// Files align nothing, so elements are copied out one by one; the compiler makes vectors of it.
template <class T, class Widen>
void read_as(const std::byte* from, int64_t count, float* to, const Widen& widen) {
  for (int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
    to[i] = widen(value);
  }
}

void read_floats(const NamedTensor& t, int64_t begin, int64_t count, float* to) {
  const std::string& dtype = t.view.dtype;
  const std::byte* from = t.view.bytes.data();
  if (dtype == "F32")
    read_as<float>(from + begin * 4, count, to, [](float v) { return v; });
  else if (dtype == "BF16")
    read_as<uint16_t>(from + begin * 2, count, to, [](uint16_t v) { return from_bf16(v); });
  else if (dtype == "F16")
    read_as<uint16_t>(from + begin * 2, count, to, [](uint16_t v) { return fast_from_f16(v); });
  else
    read_as<uint8_t>(from + begin, count, to, [](uint8_t v) { return fast_from_fp8(v); });
}

void require_dtype(const NamedTensor& t, std::initializer_list<const char*> expected) {
  for (const char* dtype : expected)
    if (t.view.dtype == dtype) return;
  fail_tensor(
      t, fmt::format("dtype {}, expected {}", printable(t.view.dtype), fmt::join(expected, ", ")));
}

bool is_finite(float v) {
  return (std::bit_cast<uint32_t>(v) & kInfinityF32) != kInfinityF32;
}

// `what` is what the values are; `first` the element of the tensor that values[0] is.
void require_finite(const NamedTensor& t, const float* values, int64_t first, int64_t count) {
  bool finite = true;
  for (int64_t i = 0; i < count; ++i) finite &= is_finite(values[i]);
  if (finite) return;
  const float* bad = std::find_if_not(values, values + count, is_finite);
  fail_tensor(
      t, fmt::format("element {} is {}, expected a finite number", first + (bad - values), *bad));
}

void require_no_nan_codes(const NamedTensor& t) {
  const auto is_nan = [](std::byte code) { return (code & std::byte{0x7f}) == std::byte{0x7f}; };
  bool any = false;
  for (const std::byte code : t.view.bytes) any |= is_nan(code);
  if (!any) return;
  const auto bad = std::find_if(t.view.bytes.begin(), t.view.bytes.end(), is_nan);
  fail_tensor(t, fmt::format("element {} is {:#04x}, NaN as e4m3, expected a number",
                             bad - t.view.bytes.begin(), static_cast<unsigned>(*bad)));
}

// Finite values in a 16- or 32-bit type; the largest of them may still overflow it.
void write_elements(const NamedTensor& t, const float* values, int64_t count, DType to,
                    std::byte* out) {
  if (to == DType::f32) {
    std::memcpy(out, values, static_cast<size_t>(count) * 4);
    return;
  }
  auto* bits = reinterpret_cast<uint16_t*>(out);
  const auto infinity = static_cast<uint16_t>(to == DType::bf16 ? 0x7f80 : 0x7c00);
  bool fits = true;
  for (int64_t i = 0; i < count; ++i) {
    bits[i] = to == DType::bf16 ? fast_to_bf16(values[i]) : fast_to_f16(values[i]);
    fits &= (bits[i] & 0x7fff) != infinity;
  }
  if (fits) return;
  for (int64_t i = 0; i < count; ++i)
    if ((bits[i] & 0x7fff) == infinity)
      fail_tensor(t, fmt::format("value {} does not fit {}", values[i], to_name(to)));
}

// One block of a band of rows. A block of zeros gets scale 1; the floor keeps the scale of tiny
// values a normal number, which flushing hardware does not turn into zero.
float quantize_block(const float* band, int rows, int cols, int col_begin, uint8_t* codes) {
  const int col_end = std::min(cols, col_begin + kScaleBlock);
  float largest = 0;
  for (int r = 0; r < rows; ++r)
    for (int c = col_begin; c < col_end; ++c)
      largest = std::max(largest, std::fabs(band[int64_t{r} * cols + c]));
  const float scale = largest == 0 ? 1.0f : std::max(largest / 448.0f, FLT_MIN);
  for (int r = 0; r < rows; ++r)
    for (int c = col_begin; c < col_end; ++c)
      codes[int64_t{r} * cols + c] = fast_to_fp8(band[int64_t{r} * cols + c] / scale);
  return scale;
}

std::vector<float> read_scales(const NamedTensor& scale, int rows, int cols) {
  require_dtype(scale, {"F32", "BF16"});
  require_shape(scale, {scale_blocks(rows), scale_blocks(cols)});
  std::vector<float> scales(static_cast<size_t>(scale_blocks(rows)) *
                            static_cast<size_t>(scale_blocks(cols)));
  const auto count = static_cast<int64_t>(scales.size());
  read_floats(scale, 0, count, scales.data());
  require_finite(scale, scales.data(), 0, count);
  return scales;
}

void apply_scales(const float* row_scales, int rows, int cols, float* band) {
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < cols; ++c) band[int64_t{r} * cols + c] *= row_scales[c / kScaleBlock];
}

void convert_bands(const NamedTensor& weight, const std::vector<float>& scales, DType to,
                   ExpertMatrix& m) {
  std::vector<float> band(static_cast<size_t>(kScaleBlock) * static_cast<size_t>(m.cols));
  for (int row = 0; row < m.rows; row += kScaleBlock) {
    const int rows = std::min(kScaleBlock, m.rows - row);
    const int64_t first = int64_t{row} * m.cols;
    const int64_t count = int64_t{rows} * m.cols;
    read_floats(weight, first, count, band.data());
    if (!scales.empty())
      apply_scales(scales.data() + row / kScaleBlock * scale_blocks(m.cols), rows, m.cols,
                   band.data());
    require_finite(weight, band.data(), first, count);
    std::byte* out = m.elements.data() + first * element_bytes(to);
    if (to != DType::fp8_block128) {
      write_elements(weight, band.data(), count, to, out);
      continue;
    }
    for (int col = 0; col < m.cols; col += kScaleBlock)
      m.scales.push_back(
          quantize_block(band.data(), rows, m.cols, col, reinterpret_cast<uint8_t*>(out)));
  }
}

}  // namespace

void fail_tensor(const NamedTensor& t, const std::string& what) {
  fail_data(fmt::format("{}: tensor '{}': {}", t.view.file, printable(t.name), what));
}

void require_shape(const NamedTensor& t, const std::vector<int64_t>& expected) {
  if (t.view.shape == expected) return;
  fail_tensor(t, fmt::format("shape [{}], expected [{}]", fmt::join(t.view.shape, ", "),
                             fmt::join(expected, ", ")));
}

void convert_elements(const NamedTensor& t, const std::vector<int64_t>& shape, DType to,
                      std::byte* out) {
  require_dtype(t, {"F32", "F16", "BF16"});
  require_shape(t, shape);
  std::vector<float> values(static_cast<size_t>(t.view.elements()));
  read_floats(t, 0, t.view.elements(), values.data());
  require_finite(t, values.data(), 0, t.view.elements());
  write_elements(t, values.data(), t.view.elements(), to, out);
}

ExpertMatrix convert_matrix(const NamedTensor& weight, const NamedTensor* scale, int rows, int cols,
                            DType to) {
  require_dtype(weight, {"F32", "F16", "BF16", "F8_E4M3"});
  require_shape(weight, {rows, cols});
  const bool from_fp8 = weight.view.dtype == "F8_E4M3";
  if (from_fp8 && scale == nullptr)
    fail_tensor(weight, fmt::format("no scale, expected '{}_scale_inv'", printable(weight.name)));
  if (!from_fp8 && scale != nullptr)
    fail_tensor(*scale, fmt::format("scales '{}' of dtype {}, expected F8_E4M3",
                                    printable(weight.name), weight.view.dtype));
  ExpertMatrix m{rows, cols, {}, {}};
  m.elements.resize(static_cast<size_t>(int64_t{rows} * cols * element_bytes(to)));
  std::vector<float> scales;
  if (from_fp8) {
    require_no_nan_codes(weight);
    scales = read_scales(*scale, rows, cols);
  }
  if (from_fp8 && to == DType::fp8_block128) {
    std::copy(weight.view.bytes.begin(), weight.view.bytes.end(), m.elements.begin());
    m.scales = std::move(scales);
  } else {
    convert_bands(weight, scales, to, m);
  }
  return m;
}

}  // namespace fse
