// Tile geometry of FlashAttention 2 and 3 against counting by hand and the libraries' own rules.
#include "kernels/tiles/attention_tiles.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <set>
#include <vector>

#include "kernels/tiles/attention_fa2.hpp"
#include "kernels/tiles/attention_fa3.hpp"

namespace tessera {
namespace {

// Slow and obvious: walk every query of a row block and note every key tile it sees... by the definition of
// the mask: query q (of the chunk) sees keys max(0, history + q - window + 1) .. history + q.
std::int64_t tiles_by_walking(const CausalBlocks& c, std::int64_t block) {
  std::int64_t first = 1'000'000'000, last = -1;
  for (std::int64_t row = block * c.tile.m; row < (block + 1) * c.tile.m; ++row) {
    const std::int64_t query = row / c.group;
    if (query >= c.queries) break;
    const std::int64_t to = c.history + query;
    const std::int64_t from = c.window > 0 ? std::max<std::int64_t>(0, to - c.window + 1) : 0;
    first = std::min(first, from);
    last = std::max(last, to);
  }
  if (c.from_window && c.window > 0) return (last - first + c.tile.n) / c.tile.n;
  return last / c.tile.n - first / c.tile.n + 1;
}

TEST(AttentionTiles, SumsAndMaximaEqualWalkingEveryQuery) {
  EXPECT_TRUE(rc::check("total_tiles and longest", [] {
    const CausalBlocks c{
        *rc::gen::inRange<std::int64_t>(1, 600),
        *rc::gen::inRange<std::int64_t>(0, 700),
        *rc::gen::inRange<std::int64_t>(1, 9),
        *rc::gen::oneOf(rc::gen::just<std::int64_t>(0), rc::gen::inRange<std::int64_t>(1, 900)),
        {*rc::gen::element(64, 128, 192), *rc::gen::element(64, 80, 96, 128, 160, 256)},
        *rc::gen::arbitrary<bool>()};
    std::int64_t sum = 0, most = 0;
    for (std::int64_t b = 0; b < c.row_blocks(); ++b) {
      const std::int64_t walked = tiles_by_walking(c, b);
      RC_ASSERT(c.tiles(b) == walked);
      sum += walked, most = std::max(most, walked);
    }
    RC_ASSERT(c.total_tiles() == sum);
    // The longest is exact without a window, within one tile of alignment with one.
    if (c.window == 0)
      RC_ASSERT(c.longest() == most);
    else
      RC_ASSERT(c.longest() <= most && c.longest() + 1 >= most);
  }));
}

TEST(AttentionTiles, FloorSumEqualsAdding) {
  EXPECT_TRUE(rc::check("floor_sum", [] {
    const auto n = *rc::gen::inRange<std::int64_t>(0, 200), c = *rc::gen::inRange<std::int64_t>(1, 500),
               a = *rc::gen::inRange<std::int64_t>(0, 2000), b = *rc::gen::inRange<std::int64_t>(0, 2000);
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < n; ++i) sum += (a * i + b) / c;
    RC_ASSERT(floor_sum(n, c, a, b) == sum);
  }));
}

TEST(AttentionTiles, AThousandTokenPromptOnTheSplitKernel) {
  // 1,024 queries in 16 blocks of 64 rows against tiles of 128 keys: block b ends at key 64 (b + 1), so the
  // blocks visit 1 1 2 2 .. 8 8 tiles: 72.
  constexpr CausalBlocks c{1024, 0, 1, 0, {64, 128}};
  static_assert(c.row_blocks() == 16 && c.total_tiles() == 72 && c.longest() == 8);
  // After 4,096 cached tokens each block visits 32 more.
  constexpr CausalBlocks later{1024, 4096, 1, 0, {64, 128}};
  static_assert(later.total_tiles() == 72 + 16 * 32);
  SUCCEED();
}

TEST(Fa2Geometry, TilesAndResidencyFollowHeadDimAndSharedMemory) {
  static_assert(fa2::tile(64).n == 256 && fa2::tile(128).n == 128 && fa2::tile(192).n == 64 &&
                fa2::tile(256).n == 64);
  // 2 d (64 + 2 N) bytes: 80 KB at head dim 128.
  static_assert(fa2::smem_bytes(128, 128) == 81920);
  static_assert(fa2::smem_bytes(64, 64) == 73728);
  EXPECT_EQ(fa2::ctas_per_sm(128, 128, 167936), 2);  // A100: 164 KB
  EXPECT_EQ(fa2::ctas_per_sm(128, 128, 102400), 1);  // Ada, Blackwell: 100 KB
  EXPECT_EQ(fa2::ctas_per_sm(256, 256, 167936), 1);  // 96 KB
}

TEST(Fa2Geometry, HeadsArePackedOnlyWithoutAnyWindow) {
  static_assert(fa2::packs_heads(32, 8, 0));
  static_assert(!fa2::packs_heads(32, 8, 1 << 20), "even a window longer than the context");
  static_assert(!fa2::packs_heads(8, 8, 0));
}

TEST(Fa2Geometry, SplitsFillTwoCtasPerSm) {
  // 8 blocks on 2 x 108 slots: s = 27 fills them exactly (8 x 27 = 216, efficiency 1). 85 % of that is first
  // reached at s = 23: 184 / 216 = 0.852; 22 gives 0.815. With 64 tiles s = 22 and 23 differ (3 tiles both?
  // no: ceil(64/22) = 3, ceil(64/23) = 3), so 23 is not eligible; nor is any s up to 31 (3 tiles); s = 22 is
  // the first with 3 tiles. Eligible near the top: 22 (0.815) and 32 (8 x 32 = 256 -> 0.593). 22 it is.
  EXPECT_EQ(fa2::split_count(8, 108, 64), 22);
  // Enough blocks: none. 0.8 x 216 = 172.8.
  EXPECT_EQ(fa2::split_count(173, 108, 64), 1);
  EXPECT_GT(fa2::split_count(172, 108, 64) * 172, 172);
  EXPECT_EQ(fa2::split_count(1, 108, 1), 1);  // one tile cannot be split
}

// The library's rule, written the slow way: efficiencies of all eligible counts, then the first good one.
int splits_by_the_book(std::int64_t blocks, std::int64_t slots, std::int64_t tiles, int most) {
  const auto per = [&](std::int64_t s) { return (tiles + s - 1) / s; };
  std::vector<double> efficiency;
  const std::int64_t limit = std::min<std::int64_t>({most, slots, tiles});
  for (std::int64_t s = 1; s <= limit; ++s) {
    const bool eligible = s == 1 || per(s) != per(s - 1);
    const double waves = static_cast<double>(blocks * s) / static_cast<double>(slots);
    efficiency.push_back(eligible ? waves / std::ceil(waves) : 0);
  }
  double best = 0;
  for (const double e : efficiency) best = std::max(best, e);
  for (std::size_t i = 0; i < efficiency.size(); ++i)
    if (efficiency[i] > 0 && efficiency[i] >= 0.85 * best - 1e-12) return static_cast<int>(i) + 1;
  return 1;
}

TEST(SplitRule, EqualsTheLibrarysLoop) {
  EXPECT_TRUE(rc::check("best_split_count", [] {
    const auto blocks = *rc::gen::inRange<std::int64_t>(1, 300),
               slots = *rc::gen::inRange<std::int64_t>(1, 400),
               tiles = *rc::gen::inRange<std::int64_t>(1, 600);
    RC_ASSERT(best_split_count(blocks, slots, tiles, 128) == splits_by_the_book(blocks, slots, tiles, 128));
  }));
}

TEST(Fa3Geometry, OneWarpgroupForFewRowsOfHeadDim64And128) {
  const auto is = [](TileShape t, int m, int n) { return t.m == m && t.n == n; };
  EXPECT_TRUE(is(fa3::tile(128, 4, true, false, false), 64, 128));
  EXPECT_TRUE(is(fa3::tile(128, 64, false, false, false), 64, 128));
  EXPECT_TRUE(is(fa3::tile(64, 64, true, false, false), 64, 192));
  EXPECT_TRUE(is(fa3::tile(64, 64, false, false, false), 192, 128)) << "decode only";
  EXPECT_TRUE(is(fa3::tile(128, 65, true, false, false), 128, 128));
  EXPECT_TRUE(is(fa3::tile(64, 65, true, false, false), 192, 128));
  EXPECT_TRUE(is(fa3::tile(64, 4, true, true, false), 192, 160));
  EXPECT_TRUE(is(fa3::tile(192, 4, true, false, false), 128, 96));
  EXPECT_TRUE(is(fa3::tile(256, 4, true, false, false), 128, 80));
  EXPECT_TRUE(is(fa3::tile(256, 4, true, true, false), 128, 64));
  EXPECT_TRUE(is(fa3::tile(64, 4, true, false, true), 64, 128));
  EXPECT_TRUE(is(fa3::tile(128, 4, true, false, true), 64, 96));
  EXPECT_TRUE(is(fa3::tile(128, 65, true, false, true), 128, 160));
  EXPECT_TRUE(is(fa3::tile(192, 4, true, false, true), 128, 96));
  EXPECT_TRUE(is(fa3::tile(256, 4, true, false, true), 128, 128));
}

// hopper/heuristics.h of vLLM's fork, written the slow way.
int fa3_splits_by_the_book(std::int64_t blocks, std::int64_t sms, std::int64_t tiles) {
  if (static_cast<double>(blocks) >= 0.8 * static_cast<double>(sms) || tiles <= 4) return 1;
  if (tiles <= 8 && blocks >= 32) return 1;
  std::vector<double> efficiency;
  for (std::int64_t s = 1; s <= std::min<std::int64_t>({128, sms, tiles}); ++s) {
    const double waves = static_cast<double>(blocks * s) / static_cast<double>(sms);
    efficiency.push_back(waves / std::ceil(waves) * (tiles / s < 4 ? 0.85 : 1));
  }
  double best = 0;
  for (const double e : efficiency) best = std::max(best, e);
  for (std::size_t i = 0; i < efficiency.size(); ++i)
    if (efficiency[i] >= 0.95 * best - 1e-12) return static_cast<int>(i) + 1;
  return 1;
}

TEST(Fa3Geometry, TheHostsSplitCountEqualsTheLibrarysLoop) {
  EXPECT_TRUE(rc::check("heuristic_splits", [] {
    const auto heads = *rc::gen::inRange<std::int64_t>(1, 64), rows = *rc::gen::inRange<std::int64_t>(1, 20),
               sms = *rc::gen::inRange<std::int64_t>(1, 200), tiles = *rc::gen::inRange<std::int64_t>(1, 600);
    RC_ASSERT(fa3::heuristic_splits(heads, rows, sms, tiles) ==
              fa3_splits_by_the_book(heads * rows, sms, tiles));
  }));
}

TEST(Fa3Geometry, TheSplitCapFollowsGraphAndSchedulerLimits) {
  EXPECT_EQ(fa3::split_cap(true, 512, 8, 1, 132, 1000), 32);
  EXPECT_EQ(fa3::split_cap(true, 993, 1, 1, 132, 1000), 1);
  // Eager: one sequence of 8 KV heads, 8 blocks on 132 SMs; 16 splits fill 128 of them.
  EXPECT_EQ(fa3::split_cap(false, 513, 8, 1, 132, 1000), 16);
  EXPECT_EQ(fa3::split_cap(false, 1, 8, 14, 132, 1000), 1) << "112 blocks >= 0.8 x 132";
  EXPECT_EQ(fa3::split_cap(false, 1, 8, 1, 132, 4), 1) << "four tiles are too few";
  EXPECT_EQ(fa3::split_cap(false, 1, 1, 64, 132, 8), 1) << "64 row blocks need no splits of 8 tiles";
}

TEST(Fa3Geometry, HeadsBeyondL2AreSplitWhenManyRowsPassOverThem) {
  constexpr std::int64_t mb = 1 << 20;
  EXPECT_EQ(fa3::dense_splits(16, 264, 132, 4000, 120 * mb, false), 3);
  EXPECT_EQ(fa3::dense_splits(16, 264, 132, 4000, 50 * mb, false), 1);
  EXPECT_EQ(fa3::dense_splits(16, 263, 132, 4000, 120 * mb, false), 1) << "too few rows";
  EXPECT_EQ(fa3::dense_splits(16, 264, 132, 4000, 120 * mb, true), 1) << "masked";
}

TEST(Fa3Geometry, SplitsShareTheTilesEvenly) {
  // One sequence of 1,024 tiles, 8 KV heads: ceil(1.1 x 8 x 1,024 / 132) = 69 tiles a CTA, 15 splits.
  EXPECT_EQ(fa3::tiles_per_cta(8, 1024, 132), 69);
  EXPECT_EQ(fa3::splits_of(1024, 69, 32), 15);
  EXPECT_EQ(fa3::splits_of(10, 69, 32), 1);
  EXPECT_EQ(fa3::splits_of(1024, 1, 32), 32);
}

}  // namespace
}  // namespace tessera
