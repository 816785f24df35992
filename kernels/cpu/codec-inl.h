// How stored weights become f32 vectors, once per SIMD target.
#if defined(FSELAB_KERNELS_CPU_CODEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FSELAB_KERNELS_CPU_CODEC_INL_H_
#undef FSELAB_KERNELS_CPU_CODEC_INL_H_
#else
#define FSELAB_KERNELS_CPU_CODEC_INL_H_
#endif

#include <cstring>

#include "core/dtype.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace fse::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using Vec = hn::Vec<F32>;

// In which order a codec's f32 vectors hold a group of elements. Inputs are packed in that order
// once, which is cheaper than putting every weight in order.
enum class Order {
  plain,
  pairs,  // per 2 * Lanes elements: a vector of the even ones, then one of the odd ones
  quads,  // per 4 * Lanes elements: elements 4i, then 4i + 1, 4i + 2, 4i + 3
};

// A codec turns kGroup vectors' worth of elements into f32 at a time, in its order; what it makes
// is to be multiplied by kUnit, and inputs by kInputScale.
struct F32Codec {
  using Element = float;
  static constexpr int kGroup = 1;
  static constexpr Order kOrder = Order::plain;
  static constexpr float kUnit = 1, kInputScale = 1;
  static constexpr bool kScaled = false;
  static HWY_INLINE Vec load(const Element* p) { return hn::LoadU(F32(), p); }
  static HWY_INLINE void load_group(const Element* p, Vec* out) { out[0] = load(p); }
};

struct F16Codec {
  using Element = uint16_t;
  static constexpr int kGroup = 1;
  static constexpr Order kOrder = Order::plain;
  static constexpr float kUnit = 1, kInputScale = 1;
  static constexpr bool kScaled = false;
  static HWY_INLINE Vec load(const Element* p) {
    const hn::Rebind<uint16_t, F32> bits;
    const hn::Rebind<hwy::float16_t, F32> halves;
    return hn::PromoteTo(F32(), hn::BitCast(halves, hn::LoadU(bits, p)));
  }
  static HWY_INLINE void load_group(const Element* p, Vec* out) { out[0] = load(p); }
};

struct Bf16Codec {
  using Element = uint16_t;
  static constexpr int kGroup = HWY_TARGET == HWY_SCALAR ? 1 : 2;
  static constexpr Order kOrder = HWY_TARGET == HWY_SCALAR ? Order::plain : Order::pairs;
  static constexpr float kUnit = 1, kInputScale = 1;
  static constexpr bool kScaled = false;
  static HWY_INLINE Vec load(const Element* p) {
    const hn::RebindToUnsigned<F32> wide;
    const hn::Rebind<uint16_t, F32> narrow;
    return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(wide, hn::LoadU(narrow, p))));
  }
  static HWY_INLINE void load_group(const Element* p, Vec* out) {
#if HWY_TARGET == HWY_SCALAR
    out[0] = load(p);
#else
    const hn::Repartition<uint16_t, F32> narrow;
    const hn::RebindToUnsigned<F32> wide;
    const auto both = hn::BitCast(wide, hn::LoadU(narrow, p));
    out[0] = hn::BitCast(F32(), hn::ShiftLeft<16>(both));
    out[1] = hn::BitCast(F32(), hn::And(both, hn::Set(wide, 0xffff0000u)));
#endif
  }
};

// s eeee mmm becomes the f16 s 0eeee mmm0000000: the same number times 2^-8, since the exponent's
// bias is 7 there and 15 here; subnormals too. kUnit is the 2^8.
struct Fp8Codec {
  using Element = uint8_t;
  static constexpr int kGroup = HWY_TARGET == HWY_SCALAR ? 1 : 4;
  static constexpr float kUnit = 256, kInputScale = 1;
  static constexpr bool kScaled = true;

  // In order, NaN included: for weights that are converted once and used often.
  static HWY_INLINE Vec load(const Element* p) {
    const hn::Rebind<int8_t, F32> codes;
    const hn::Rebind<int16_t, F32> words;
    const hn::Rebind<hwy::float16_t, F32> halves;
    const auto word = hn::PromoteTo(words, hn::LoadU(codes, reinterpret_cast<const int8_t*>(p)));
    // Sign extension leaves the sign in bit 14 as well.
    const auto half = hn::And(hn::ShiftLeft<7>(word), hn::Set(words, int16_t{-0x4001}));
    const auto top = hn::Set(words, int16_t{0x3f80});
    const auto nan = hn::Set(words, int16_t{0x7e00});
    const auto checked = hn::IfThenElse(hn::Eq(hn::And(half, top), top), nan, half);
    return hn::PromoteTo(F32(), hn::BitCast(halves, checked));
  }

#if HWY_TARGET == HWY_SCALAR
  static constexpr Order kOrder = Order::plain;
  static HWY_INLINE void load_group(const Element* p, Vec* out) {
    out[0] = load(p);
  }
#else
  static constexpr Order kOrder = Order::pairs;
  // Pairs of codes stay in their 16-bit lanes: five operations place a whole vector of codes.
  static HWY_INLINE void load_group(const Element* p, Vec* out) {
    const Words words;
    const hn::Repartition<int8_t, F32> codes;
    const auto pairs = hn::BitCast(words, hn::LoadU(codes, reinterpret_cast<const int8_t*>(p)));
    const auto keep = hn::Set(words, int16_t{-0x4080});  // 0xbf80: sign, exponent, fraction
    const auto even = hn::And(hn::ShiftRight<1>(hn::ShiftLeft<8>(pairs)), keep);
    const auto odd = hn::And(hn::ShiftRight<1>(pairs), keep);
    out[0] = to_f32(hn::LowerHalf(hn::Half<Words>(), even));
    out[1] = to_f32(hn::LowerHalf(hn::Half<Words>(), odd));
    out[2] = to_f32(hn::UpperHalf(hn::Half<Words>(), even));
    out[3] = to_f32(hn::UpperHalf(hn::Half<Words>(), odd));
  }

 private:
  using Words = hn::Repartition<int16_t, F32>;
  static HWY_INLINE Vec to_f32(hn::Vec<hn::Half<Words> > words) {
    return hn::PromoteTo(F32(), hn::BitCast(hn::Rebind<hwy::float16_t, F32>(), words));
  }
#endif
};

// s eeee mmm moved into f32 as s 0000eeee mmm000...: the same number times 2^-120, in two or three
// operations and no conversion, 30 % faster on Zen 4. Codes without exponent become subnormal
// operands, which cost nothing there and much elsewhere: a choice for the tuner. Inputs are
// scaled by 2^64 to keep the products away from the other end of the range.
struct Fp8ShiftCodec {
  using Element = uint8_t;
  static constexpr bool kScaled = true;
  static constexpr float kInputScale = 0x1p64f;
  static constexpr float kUnit = 0x1p56f;
#if HWY_TARGET == HWY_SCALAR
  static constexpr int kGroup = 1;
  static constexpr Order kOrder = Order::plain;
  static HWY_INLINE void load_group(const Element* p, Vec* out) {
    out[0] = hn::Mul(Fp8Codec::load(p), hn::Set(F32(), 0x1p-112f));
  }
#else
  static constexpr int kGroup = 4;
  static constexpr Order kOrder = Order::quads;
  static HWY_INLINE void load_group(const Element* p, Vec* out) {
    const hn::Repartition<int32_t, F32> wide;
    const hn::Repartition<int8_t, F32> codes;
    const auto four = hn::BitCast(wide, hn::LoadU(codes, reinterpret_cast<const int8_t*>(p)));
    out[0] = place(hn::ShiftLeft<24>(four));
    out[1] = place(hn::ShiftLeft<16>(four));
    out[2] = place(hn::ShiftLeft<8>(four));
    out[3] = place(four);
  }

 private:
  // The code in the top byte: its sign stays, the copies the shift makes of it go.
  static HWY_INLINE Vec place(hn::Vec<hn::Repartition<int32_t, F32> > v) {
    const hn::Repartition<int32_t, F32> wide;
    const auto keep = hn::Set(wide, static_cast<int32_t>(0x87f00000u));
    return hn::BitCast(F32(), hn::And(hn::ShiftRight<4>(v), keep));
  }
#endif
};

// The last n < Lanes elements, then zeros: never reads past them.
template <class Codec>
HWY_INLINE Vec load_tail(const typename Codec::Element* p, size_t n) {
  HWY_ALIGN typename Codec::Element padded[HWY_MAX_BYTES] = {};
  std::memcpy(padded, p, n * sizeof(*p));
  return Codec::load(padded);
}
template <class Codec>
HWY_INLINE void load_tail_group(const typename Codec::Element* p, size_t n, Vec* out) {
  HWY_ALIGN typename Codec::Element padded[HWY_MAX_BYTES] = {};
  std::memcpy(padded, p, n * sizeof(*p));
  Codec::load_group(padded, out);
}

}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
