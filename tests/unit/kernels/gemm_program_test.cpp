// The tiles of a GEMM library and the programs made of them: who owns which part of C, and in what order.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

#include "kernels/tiles/elementwise_program.hpp"
#include "kernels/tiles/gemm_program.hpp"
#include "kernels/tiles/split_sum_program.hpp"
#include "kernels/tiles/traffic.hpp"

namespace tessera {
namespace {

// --- tiles and splits --------------------------------------------------------------------------------

TEST(GemmTiles, ATileWithAnEmptyHalfIsNotChosen) {
  EXPECT_TRUE(tile_suits({128, 128}, 65, 65));
  EXPECT_FALSE(tile_suits({128, 128}, 64, 65)) << "half of its rows would be empty";
  EXPECT_FALSE(tile_suits({128, 128}, 65, 64)) << "half of its columns would be empty";
  EXPECT_TRUE(tile_suits({16, 64}, 1, 1)) << "the smallest is always there";
}

TEST(GemmTiles, EveryProductHasATile) {
  for (std::int64_t m = 1; m <= 300; ++m)
    for (const std::int64_t n : {1, 31, 32, 33, 64, 65, 129, 300, 10'000}) {
      int tiles = 0;
      for (const GemmTile tile : kGemmTiles) tiles += tile_suits(tile, m, n);
      EXPECT_GT(tiles, 0) << m << " x " << n;
    }
}

TEST(GemmTiles, ASplitNeedsAStepForEachPart) {
  EXPECT_TRUE(split_suits(1, 1));
  EXPECT_FALSE(split_suits(2, 127));
  EXPECT_TRUE(split_suits(2, 128));
  EXPECT_FALSE(split_suits(32, 2047));
  EXPECT_TRUE(split_suits(32, 2048));
}

TEST(GemmTiles, SplitsAreWholeStepsThatCoverK) {
  EXPECT_EQ(k_per_split(64, 1), 64);
  EXPECT_EQ(k_per_split(65, 1), 128) << "the last step is padded";
  EXPECT_EQ(k_per_split(4096, 3), 1408) << "64 steps in three: 22 each at most";
  for (const int splits : kGemmSplits)
    for (const std::int64_t k : {64, 100, 2048, 2049, 14'336})
      if (split_suits(splits, k)) {
        EXPECT_EQ(k_per_split(k, splits) % kGemmKStep, 0);
        EXPECT_GE(k_per_split(k, splits) * splits, k);
      }
}

TEST(GemmTiles, AccumulatorsLimitHowManyCtasShareAnSm) {
  EXPECT_DOUBLE_EQ(ctas_per_sm({256, 128}), 1);
  EXPECT_DOUBLE_EQ(ctas_per_sm({128, 128}), 2);
  EXPECT_DOUBLE_EQ(ctas_per_sm({64, 64}), 4) << "eight would fit, the library runs four";
  EXPECT_NEAR(ctas_per_sm({192, 128}), 4.0 / 3, 1e-12);
}

TEST(GemmTiles, SmallDeepProductsStayWhole) {
  EXPECT_TRUE(too_small_to_split(2, 32, 8192)) << "the product its comment names: 35 us on an L40S";
  EXPECT_FALSE(too_small_to_split(2, 32, 10'240)) << "and the one that takes 5";
  EXPECT_FALSE(too_small_to_split(1, 32, 8192)) << "one row has a kernel of its own";
  EXPECT_FALSE(too_small_to_split(2, 128, 8192)) << "2^21 multiplications";
  EXPECT_TRUE(too_small_to_split(2, 127, 8192));
}

// --- the program -------------------------------------------------------------------------------------

GemmProgram any_gemm() {
  GemmProgram p;
  p.m = *rc::gen::inRange(1, 4'000), p.n = *rc::gen::inRange(1, 4'000), p.k = *rc::gen::inRange(1, 3'000);
  p.tile = kGemmTiles[*rc::gen::inRange<std::size_t>(0, std::size(kGemmTiles))];
  p.splits = *rc::gen::elementOf(std::vector<int>(std::begin(kGemmSplits), std::end(kGemmSplits)));
  return p;
}

RC_GTEST_PROP(GemmProgramProperty, EveryTileOfEverySplitHasOneCta, ()) {
  const GemmProgram p = any_gemm();
  std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t>> seen;
  for (std::int64_t i = 0; i < p.ctas(); ++i) {
    const GemmProgram::Cta c = p.cta(i);
    RC_ASSERT(c.row >= 0 && c.row < p.tile_rows() && c.col >= 0 && c.col < p.tile_cols());
    RC_ASSERT(c.rows >= 1 && c.rows <= p.tile.bm && c.cols >= 1 && c.cols <= p.tile.bn);
    RC_ASSERT(c.row * p.tile.bm + c.rows <= p.m && c.col * p.tile.bn + c.cols <= p.n);
    seen.emplace(c.row, c.col, c.split);
  }
  RC_ASSERT(static_cast<std::int64_t>(seen.size()) == p.tile_rows() * p.tile_cols() * p.splits);
}

RC_GTEST_PROP(GemmProgramProperty, SplitsCutKWithoutGapOrOverlap, ()) {
  const GemmProgram p = any_gemm();
  std::int64_t until = 0;
  for (int split = 0; split < p.splits; ++split) {
    const GemmProgram::Cta c = p.cta(split * p.tile_rows() * p.tile_cols());
    RC_ASSERT(c.split == split && c.first_k == until && c.last_k >= c.first_k);
    RC_ASSERT(c.steps == (c.last_k - c.first_k + kGemmKStep - 1) / kGemmKStep);
    until = c.last_k;
  }
  RC_ASSERT(until == p.k);
}

// CTAs that run together read as little as tiles can share: 64 in a row of a tall grid are a patch of
// 8 x 8 tiles, whatever band they begin in.
TEST(GemmProgram, CtasThatRunTogetherFormASquarePatch) {
  GemmProgram p;
  p.m = 40 * 128, p.n = 24 * 128, p.k = 64;
  for (std::int64_t first = 0; first < p.ctas(); first += 64) {
    std::set<std::int64_t> rows, cols;
    for (std::int64_t i = first; i < first + 64; ++i) rows.insert(p.cta(i).row), cols.insert(p.cta(i).col);
    EXPECT_EQ(rows.size(), 8U) << first;
    EXPECT_EQ(cols.size(), 8U) << first;
  }
}

TEST(GemmProgram, TheLastBandIsAsHighAsItsRows) {
  GemmProgram p;  // 11 rows of tiles: a band of 8 and one of 3
  p.m = 11 * 128, p.n = 5 * 128, p.k = 64;
  EXPECT_EQ(p.cta(39).row, 7);
  EXPECT_EQ(p.cta(39).col, 4);
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(p.cta(40 + i).row, 8 + i % 3) << i;
    EXPECT_EQ(p.cta(40 + i).col, i / 3) << i;
  }
}

RC_GTEST_PROP(GemmProgramProperty, AlikeCtasMoveAndMultiplyTheSame, ()) {
  const GemmProgram p = any_gemm();
  const auto of = [&](std::int64_t number) {
    const GemmProgram::Cta c = p.cta(number);
    CountingVisitor counter;
    for (std::int64_t s = 0; s < c.steps; ++s) p.step(c, s, counter);
    p.epilogue(c, counter);
    return counter.traffic;
  };
  const auto a = *rc::gen::inRange<std::int64_t>(0, p.ctas());
  const Traffic one = of(a);
  for (std::int64_t b = 0; b < std::min<std::int64_t>(p.ctas(), 100); ++b)
    if (GemmProgram::alike(p.cta(a), p.cta(b))) RC_ASSERT(of(b) == one);
}

TEST(GemmProgram, ProductsCountThePaddedTileAndBytesWhatIsThere) {
  GemmProgram p;
  p.m = 100, p.n = 130, p.k = 70;  // one row of tiles, two columns, two steps
  const Traffic t = traffic_of(p);
  EXPECT_EQ(t.mma_flops, 2 * 2 * (2 * 128 * 128 * 64));
  EXPECT_EQ(t.read_of(Tensor::a), 2 * 100 * 70 * 2) << "once for each column of tiles";
  EXPECT_EQ(t.read_of(Tensor::b), 70 * 130 * 2);
  EXPECT_EQ(t.written_of(Tensor::c), 100 * 130 * 2);
}

TEST(GemmProgram, Fp8OperandsAreHalfTheBytesAndPartialsStayFp32) {
  GemmProgram p;
  p.m = 128, p.n = 128, p.k = 128, p.splits = 2, p.element_bytes = 1;
  const Traffic t = traffic_of(p);
  EXPECT_EQ(t.read_of(Tensor::a), 128 * 128);
  EXPECT_EQ(t.written_of(Tensor::c_partial), 2 * 128 * 128 * 4);
  EXPECT_EQ(t.written_of(Tensor::c), 0) << "the second kernel writes it";
}

TEST(GemmProgram, RegistersOfTheResidentCtasFillTheFile) {
  for (const GemmTile tile : kGemmTiles) {
    GemmProgram p;
    p.tile = tile;
    const CtaResources r = p.resources();
    const int resident = static_cast<int>(ctas_per_sm(tile));
    EXPECT_LE(resident * r.threads * r.registers_per_thread, 65'536) << tile.bm << " x " << tile.bn;
    EXPECT_GE(r.threads * r.registers_per_thread, tile.bm * tile.bn) << "an accumulator each";
  }
}

// --- adding the splits, streaming -----------------------------------------------------------------------

TEST(SplitSumProgram, CutsRowsIntoChunksAndReadsEverySplit) {
  const SplitSumProgram sum{3, 2'500, 4, 2};
  ASSERT_EQ(sum.ctas(), 3 * 3);
  EXPECT_EQ(sum.cta(4).row, 1);
  EXPECT_EQ(sum.cta(4).col, 1'024);
  EXPECT_EQ(sum.cta(4).cols, 1'024);
  EXPECT_EQ(sum.cta(5).cols, 2'500 - 2 * 1'024);
  const Traffic t = traffic_of(sum);
  EXPECT_EQ(t.read_of(Tensor::c_partial), 3 * 2'500 * 4 * 4);
  EXPECT_EQ(t.written_of(Tensor::c), 3 * 2'500 * 2);
  EXPECT_EQ(t.alu_ops, 3 * 2'500 * 4);
}

RC_GTEST_PROP(ElementwiseProgramProperty, ChunksCoverTheArrayOnce, ()) {
  ElementwiseProgram p;
  p.elements = *rc::gen::inRange<std::int64_t>(1, 200'000);
  p.inputs = *rc::gen::inRange(1, 4);
  p.ops_per_element = 3;
  p.element_bytes = *rc::gen::element(0.5, 1.0, 2.0, 4.0);
  std::int64_t covered = 0;
  for (std::int64_t i = 0; i < p.ctas(); ++i) {
    RC_ASSERT(p.cta(i).elements > 0);
    RC_ASSERT(i + 1 == p.ctas() || p.cta(i).elements * p.element_bytes == 256 * 16);
    covered += p.cta(i).elements;
  }
  RC_ASSERT(covered == p.elements);
  const Traffic t = traffic_of(p);
  RC_ASSERT(t.alu_ops == 3 * p.elements);
  const auto bytes = static_cast<std::int64_t>(static_cast<double>(p.elements) * p.element_bytes);
  RC_ASSERT(t.written_bytes() == bytes);
  RC_ASSERT(t.read_bytes() == p.inputs * bytes);
}

TEST(TileRef, FourBitTilesAreHalfAByteAnElement) {
  const TileRef tile{Tensor::k, false, 16, 128, 0, 0, 0, 0.5};
  EXPECT_EQ(tile.elements(), 2048);
  EXPECT_EQ(tile.bytes(), 1024);
}

}  // namespace
}  // namespace tessera
