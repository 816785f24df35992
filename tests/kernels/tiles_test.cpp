#include <doctest/doctest.h>

#include <string>

#include "kernels/device/layer_tile.h"

using namespace fse::gpu;

namespace {

constexpr Limits kH100{32, 232448, 1024, 132, 1};
constexpr Limits kMi300{64, 65536, 1024, 304, 0};
constexpr Shape kQwen{kBf16, 2048, 512, 512};
constexpr Sizes kDecode{8, 10, 11, 513, 1, 512, 0, 513, 513};
constexpr StreamTile kTile{0, 0, 1, 16, 16, 3, 16, 8};

StreamTile with(int StreamTile::*axis, int value) {
  StreamTile tile = kTile;
  tile.*axis = value;
  return tile;
}

}  // namespace

TEST_CASE("an illegal stream tile says which axis and what is allowed") {
  CHECK(std::string(why_not(kTile)) == "");
  CHECK(std::string(why_not(with(&StreamTile::warps, 5))) == "warps is 4, 8 or 16");
  CHECK(std::string(why_not(with(&StreamTile::split, 32))).find("split") == 0);
  CHECK(std::string(why_not(with(&StreamTile::ring, 1))) == "ring is 2 to 8");
  CHECK(std::string(why_not(with(&StreamTile::width, 12))).find("width") == 0);
}

TEST_CASE("what a device or a shape does not allow has its reason") {
  CHECK(std::string(why_not_here(kStage1, kTile, kQwen, kDecode, kH100)) == "");
  CHECK(std::string(why_not_here(kStage1, with(&StreamTile::dependent, 1), kQwen, kDecode, kMi300))
            .find("dependent") == 0);
  CHECK(std::string(why_not_here(kStage1, kTile, kQwen, kDecode, kMi300)).find("LDS") !=
        std::string::npos);
  const Shape odd{kFp8, 2048, 24, 512};  // rows of 24 bytes
  CHECK(std::string(why_not_here(kStage2, kTile, odd, kDecode, kH100)).find("16 bytes") !=
        std::string::npos);
  Sizes many = kDecode;
  many.tokens = 9;
  CHECK(std::string(why_not_here(kStage1, with(&StreamTile::dense, 1), kQwen, many, kH100))
            .find("dense") == 0);
}

TEST_CASE("the LDS layout holds every unit there can be, and its parts do not overlap") {
  for (int tokens : {1, 3, 8, 64, 700, 4096})
    for (int width : {8, 16, 32, 64})
      for (int op : {kGate, kStage1, kStage2, kMlp1, kMlp2}) {
        CAPTURE(tokens);
        CAPTURE(width);
        CAPTURE(op);
        Sizes n = kDecode;
        n.tokens = tokens;
        const StreamTile t = with(&StreamTile::width, width);
        const StreamLayout l = stream_layout(op, t, n);
        CHECK(l.partials >= t.warps * t.ring * t.rows * kSliceBytes);
        CHECK(l.units - l.partials >= t.warps * t.width * t.rows * 4);
        CHECK(l.pairs - l.units >= 8 * max_units(op, t, n));
        CHECK(l.weights >= l.pairs);
        CHECK(l.total >= l.weights);
        // The worst load: every expert has one row more than fills its last unit.
        const long long pairs = 1LL * tokens * n.choices;
        if (op == kStage1) CHECK(max_units(op, t, n) >= (pairs + width - 1) / width);
      }
}

TEST_CASE("a launch has at most one block per compute unit, and none without work") {
  const Launch decode = launch_of(kGate, with(&StreamTile::rows, 4), kQwen, kDecode, kH100);
  CHECK(decode.blocks == 129);  // ceil(513 / 4) tiles
  CHECK(decode.threads == 512);
  CHECK(launch_of(kStage1, kTile, kQwen, kDecode, kH100).blocks == 132);
  CHECK(launch_of(kStage1, kTile, kQwen, kDecode, kMi300).threads == 1024);
}

TEST_CASE("the whole layer's LDS is that of its hungriest op") {
  const LayerTile t{1, 1, 0, 1, 1, 16, 4, 3, 8, 8};
  const Routing r{0, 1, 1, 0, 1, 1.f, 1, 1.f, 1};
  CHECK(std::string(why_not(t)) == "");
  CHECK(layer_lds(t, kQwen, kDecode, r) >= stream_layout(kStage2, stage2_tile(t), kDecode).total);
  CHECK(std::string(why_not_here(t, kQwen, kDecode, r, kH100)) == "");
  Sizes many = kDecode;
  many.tokens = 17;
  CHECK(std::string(why_not_here(t, kQwen, many, r, kH100)).find("spread") == 0);
  many.tokens = 9;
  CHECK(std::string(why_not_here(t, kQwen, many, r, kH100)).find("owned") == 0);
  const Shape wide{kBf16, 5120, 384, 160};  // 320 tiles of 16 output rows
  CHECK(std::string(why_not_here(t, wide, kDecode, r, kH100)).find("owned") == 0);
}

TEST_CASE("what outlives an op in LDS lies behind the ring and the sums of both stages") {
  const Routing r{0, 1, 1, 0, 1, 1.f, 1, 1.f, 1};
  for (const int tokens : {1, 8, 9, 64})
    for (const int width : {8, 16}) {
      CAPTURE(tokens);
      CAPTURE(width);
      Sizes n = kDecode;
      n.tokens = tokens;
      const int owned = tokens <= 8 ? 1 : 2, pairs = tokens * n.choices;
      const LayerTile t{0, owned, tokens > 16, owned == 1, 1, 16, 4, 3, 8, owned == 1 ? 8 : width};
      CHECK(std::string(why_not(t)) == "");
      CHECK(std::string(why_not_here(t, kQwen, n, r, kH100)) == "");
      const OwnedLayout l = owned_layout(t, kQwen, n, r);
      CHECK(l.tokens >= stream_layout(kStage1, stage1_tile(t), n).units);
      const StreamLayout stage2 = stream_layout(kOwnedStage2, stage2_tile(t), n);
      CHECK(l.tokens >= stage2.units);
      if (owned == 2) CHECK(stage2.units - stage2.partials == 16 * tokens * 17 * 4);
      CHECK(l.tokens >= topk_lds({0, t.warps}, kQwen, r));
      CHECK(l.weights - l.tokens == 4 * pairs);
      CHECK(l.bits - l.units >= 8 * smaller(pairs, n.expert_count + pairs / t.width));
      CHECK(l.first_rows - l.bits == 4 * n.expert_count * (tokens > 32 ? 2 : 1));
      CHECK(l.total - l.choices >= (owned == 1 ? 8 * pairs : 0));
      CHECK(l.route >= (owned == 1 ? stream_layout(kStage1, stage1_tile(t), n).partials : 0));
    }
}

TEST_CASE("owned tiles say what they cannot do") {
  const Routing r{0, 1, 1, 0, 1, 1.f, 1, 1.f, 1};
  CHECK(std::string(why_not(LayerTile{0, 3, 0, 1, 1, 16, 4, 3, 8, 8})) == "owned is 0, 1 or 2");
  CHECK(std::string(why_not(LayerTile{0, 1, 0, 1, 1, 16, 4, 3, 8, 16})).find("owned=1") == 0);
  CHECK(std::string(why_not(LayerTile{0, 2, 0, 1, 1, 16, 4, 3, 8, 8})).find("owned=2") == 0);
  const LayerTile follows{1, 1, 0, 1, 1, 8, 4, 2, 8, 8};
  CHECK(std::string(why_not_here(follows, kQwen, kDecode, r, kMi300)).find("dependent") == 0);
  const LayerTile together{0, 1, 2, 1, 1, 16, 4, 3, 8, 8};  // 16 warps of 32 experts each
  CHECK(std::string(why_not_here(together, kQwen, kDecode, r, kH100)) == "");
  CHECK(std::string(why_not_here({0, 0, 2, 1, 1, 8, 4, 3, 8, 8}, kQwen, kDecode, r, kH100))
            .find("spread=2: top_k") == 0);
  Routing groups = r;
  groups.groups = 8;
  CHECK(std::string(why_not_here(together, kQwen, kDecode, groups, kH100)).find("spread=2") == 0);
  Sizes many = kDecode;
  many.tokens = 256;  // 16 warps x 256 tokens x 17 sums
  CHECK(std::string(why_not_here(LayerTile{0, 2, 1, 0, 1, 16, 4, 3, 8, 8}, kQwen, many, r, kH100))
            .find("LDS") != std::string::npos);
}
