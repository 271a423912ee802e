// GEMM at tile grain: what the mechanisms are there for.
#include "sim/gpu/gemm_sim.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "kernels/tiles/gemm_program.hpp"
#include "kernels/tiles/traffic.hpp"

namespace tessera {
namespace {

const Gpu& gpu(const char* name) {
  static std::map<std::string, Gpu> cards;
  const auto at = cards.find(name);
  return at != cards.end() ? at->second : cards.emplace(name, load_gpu(name)).first->second;
}

TEST(GemmProgram, NumbersEveryTileOnceAndCoversC) {
  GemmProgram g;
  g.m = 700, g.n = 900, g.k = 500, g.tile = {64, 128}, g.splits = 3;
  std::vector<int> seen(static_cast<std::size_t>(g.tile_rows() * g.tile_cols() * g.splits));
  std::int64_t area = 0, depth = 0;
  for (std::int64_t i = 0; i < g.ctas(); ++i) {
    const GemmProgram::Cta c = g.cta(i);
    ++seen[static_cast<std::size_t>((c.split * g.tile_rows() + c.row) * g.tile_cols() + c.col)];
    if (c.split == 0) area += std::int64_t{c.rows} * c.cols;
    if (c.row == 0 && c.col == 0) depth += c.last_k - c.first_k;
    EXPECT_EQ(c.steps, ceil_div(c.last_k - c.first_k, kGemmKStep));
  }
  for (const int times : seen) EXPECT_EQ(times, 1);
  EXPECT_EQ(area, g.m * g.n);
  EXPECT_EQ(depth, g.k);
}

TEST(GemmProgram, LoadsWhatItsTilesNeedAndStoresCOnce) {
  GemmProgram g;
  g.m = 300, g.n = 200, g.k = 130, g.tile = {128, 128};
  const Traffic t = traffic_of(g);
  EXPECT_EQ(t.read_of(Tensor::a), 300 * 130 * 2 * 2) << "once per tile column";
  EXPECT_EQ(t.read_of(Tensor::b), 200 * 130 * 2 * 3) << "once per tile row";
  EXPECT_EQ(t.written_of(Tensor::c), 300 * 200 * 2);
  EXPECT_EQ(t.mma_flops, 2LL * 3 * 2 * 128 * 128 * 3 * 64) << "padded tiles and steps";
}

TEST(GemmProgram, NeighboursInTimeAreNeighboursInC) {
  GemmProgram g;
  g.m = g.n = 8192, g.k = 64;
  std::int64_t rows = 0, cols = 0;
  for (std::int64_t i = 0; i < 64; ++i) {
    rows = std::max(rows, g.cta(i).row + 1);
    cols = std::max(cols, g.cta(i).col + 1);
  }
  EXPECT_EQ(rows, 8);
  EXPECT_EQ(cols, 8);
}

TEST(GemmSim, OneTileMoreThanAWaveCostsAWaveWhereWavesAreWhole) {
  Gpu a100 = gpu("a100-sxm-80g");
  a100.kernels->tile.gemm.wave_quantisation = 1;
  a100.kernels->tile.gemm.l2_feed_gb_s = 1e6;  // tensor cores alone
  a100.hbm_gb_s.value = 1e6;
  const auto time = [&](std::int64_t tiles) {
    return static_cast<double>(
        simulate_gemm_as(a100, {128, 256 * tiles, 4096}, {{128, 256}, 1}).launch.time_ps);
  };
  EXPECT_LT(time(108), 1.25 * time(54)) << "half a wave, a whole wave";
  EXPECT_GT(time(109), 1.6 * time(108)) << "one tile more";
  EXPECT_LT(time(216), 1.25 * time(109));
}

TEST(GemmSim, RotatedWeightsLeaveL2AllAtOnce) {
  // Six copies of 8 MiB fit 96 MiB, six of 34 MiB do not; one copy of either does.
  const Gpu& l40s = gpu("l40s");
  const auto read = [&](std::int64_t n, int copies) {
    return static_cast<double>(
        simulate_gemm_as(l40s, {16, n, 1024, DType::bf16, copies}, {{16, 64}, 1}).launch.hbm_read_bytes);
  };
  EXPECT_LT(read(4096, 6), 0.1 * 4096 * 2048);
  EXPECT_GT(read(16384, 6), 0.95 * 16384 * 2048);
  EXPECT_LT(read(16384, 1), 0.1 * 16384 * 2048);
  EXPECT_GT(read(4096, 0), 0.99 * 4096 * 2048) << "serving: weights are never still there";
}

TEST(GemmSim, AReplacementThatResistsThrashingKeepsSomeWeights) {
  Gpu gpu = load_gpu("rtx-pro-6000");
  const GemmShape replayed{.m = 16, .n = 28672, .k = 4096, .weight_copies = 6};  // 6 x 235 MB
  GemmShape serving = replayed;
  serving.weight_copies = 0;
  gpu.kernels->tile.gemm.l2_retained = 0;
  const double lru = simulate_gemm(gpu, replayed).time.total;
  EXPECT_NEAR(lru, simulate_gemm(gpu, serving).time.total, 0.01 * lru);
  gpu.kernels->tile.gemm.l2_retained = 0.5;
  const double kept =
      0.5 * gpu.kernels->tile.gemm.l2_share * static_cast<double>(gpu.l2_bytes.value) / (6 * 235e6);
  EXPECT_NEAR(simulate_gemm(gpu, replayed).time.total, lru * (1 - kept), 0.02 * lru);
  EXPECT_NEAR(simulate_gemm(gpu, serving).time.total, lru, 0.01 * lru) << "other layers push all of them out";
}

TEST(GemmSim, SplittingKPaysForAFewLongTiles) {
  const Gpu& h100 = gpu("h100-sxm");
  const GemmShape shape{64, 64, 16384};
  EXPECT_LT(simulate_gemm_as(h100, shape, {{64, 64}, 8}).time.total,
            simulate_gemm_as(h100, shape, {{64, 64}, 1}).time.total);
  EXPECT_GT(simulate_gemm(h100, shape).choice.splits, 1);
}

TEST(GemmSim, AWeightBoundProductRunsNearTheBandwidthItWasGiven) {
  const Gpu& h100 = gpu("h100-sxm");
  const GemmSimulation sim = simulate_gemm(h100, {16, 65536, 8192});
  const double gb_s = 65536.0 * 8192 * 2 / sim.time.total * 1e-3;
  const double limit = h100.hbm_gb_s * h100.kernels->tile.gemm.hbm_fraction;
  EXPECT_LT(gb_s, limit);
  EXPECT_GT(gb_s, 0.9 * limit);
}

TEST(GemmSim, AgreesWithTheClosedFormOnLargeSquares) {
  // Two descriptions of one card, fitted apart to the same table.
  for (const char* name : {"a100-sxm-80g", "h100-sxm", "h200-sxm", "l40s", "rtx-pro-6000"})
    for (const std::int64_t n : {4096, 8192})
      EXPECT_NEAR(simulate_gemm(gpu(name), {n, n, n}).time.total / gemm_time(gpu(name), {n, n, n}).total, 1,
                  0.1)
          << name << " " << n;
}

}  // namespace
}  // namespace tessera
