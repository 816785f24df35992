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

struct F32Codec {
  using Element = float;
  static constexpr bool kScaled = false;
  static HWY_INLINE Vec load(const Element* p) { return hn::LoadU(F32(), p); }
};

struct Bf16Codec {
  using Element = uint16_t;
  static constexpr bool kScaled = false;
  static HWY_INLINE Vec load(const Element* p) {
    const hn::RebindToUnsigned<F32> wide;
    const hn::Rebind<uint16_t, F32> narrow;
    return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(wide, hn::LoadU(narrow, p))));
  }
};

struct F16Codec {
  using Element = uint16_t;
  static constexpr bool kScaled = false;
  static HWY_INLINE Vec load(const Element* p) {
    const hn::Rebind<uint16_t, F32> bits;
    const hn::Rebind<hwy::float16_t, F32> halves;
    return hn::PromoteTo(F32(), hn::BitCast(halves, hn::LoadU(bits, p)));
  }
};

// s eeee mmm becomes the f16 s 0eeee mmm0000000: the same number times 2^-8, since the exponent's
// bias is 7 there and 15 here; subnormals too. The scale carries the 2^8.
struct Fp8Codec {
  using Element = uint8_t;
  static constexpr bool kScaled = true;
  static constexpr float kUnit = 256.0f;
  static HWY_INLINE Vec load(const Element* p) {
    const hn::Rebind<int8_t, F32> codes;
    const hn::Rebind<int16_t, F32> words;
    const hn::Rebind<hwy::float16_t, F32> halves;
    const auto word = hn::PromoteTo(words, hn::LoadU(codes, reinterpret_cast<const int8_t*>(p)));
    // Sign extension leaves the sign in bit 14 as well.
    const auto half = hn::And(hn::ShiftLeft<7>(word), hn::Set(words, int16_t(0xbfff - 0x10000)));
    return hn::PromoteTo(F32(), hn::BitCast(halves, half));
  }
};

// The last n < Lanes elements, then zeros: never reads past them.
template <class Codec>
HWY_INLINE Vec load_tail(const typename Codec::Element* p, size_t n) {
  HWY_ALIGN typename Codec::Element padded[HWY_MAX_BYTES] = {};
  std::memcpy(padded, p, n * sizeof(*p));
  return Codec::load(padded);
}

}  // namespace fse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
