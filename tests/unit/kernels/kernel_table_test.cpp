// The `table` source on dense matrix products: what is interpolated, what is held, what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "tests/unit/kernels/kernel_table_shapes.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

// Rows on a factor-4 grid whose time is the closed form's divided by utilisation(m, n, k).
KernelTable gemm_grid(const Gpu& gpu, const std::function<double(double, double, double)>& utilisation) {
  KernelTable table;
  for (std::int64_t m = 1; m <= 4096; m *= 4)
    for (std::int64_t n = 256; n <= 16384; n *= 4)
      for (std::int64_t k = 256; k <= 16384; k *= 4)
        table.add_gemm(DType::bf16, m, n, k,
                       gemm_time(gpu, gemm(m, n, k)).total / utilisation(double(m), double(n), double(k)));
  table.finish(gpu);
  return table;
}

TEST(KernelTable, GivesAMeasuredShapeItsMeasuredTime) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  table.add_gemm(DType::bf16, 16, 4096, 4096, 123.0);
  table.add_gemm(DType::bf16, 32, 4096, 4096, 77.0);  // faster with more rows: no smooth model says so
  table.finish(gpu);
  EXPECT_EQ(table.size(), 2u);
  EXPECT_NEAR(table.gemm(gpu, gemm(16, 4096, 4096))->total, 123.0, 1e-9);
  EXPECT_NEAR(table.gemm(gpu, gemm(32, 4096, 4096))->total, 77.0, 1e-9);
  EXPECT_TRUE(table.gemm(gpu, gemm(32, 4096, 4096))->in_range);
}

TEST(KernelTable, InterpolatesUtilisationAndNotLatency) {
  const Gpu gpu = paper_gpu();
  const KernelTable table = gemm_grid(gpu, [](double, double, double) { return 0.8; });
  for (const GemmShape& shape : {gemm(3, 1000, 700), gemm(200, 5000, 5000), gemm(2049, 300, 16000)}) {
    const OpTime time = *table.gemm(gpu, shape);
    EXPECT_NEAR(time.total, gemm_time(gpu, shape).total / 0.8, 1e-6 * time.total);
    EXPECT_TRUE(time.in_range);
  }
}

TEST(KernelTable, FollowsATrendOfTheUtilisation) {
  const Gpu gpu = paper_gpu();
  const auto trend = [](double m, double n, double k) {
    return std::exp(-1 + 0.05 * std::log2(m) + 0.03 * std::log2(n) - 0.02 * std::log2(k));
  };
  const KernelTable table = gemm_grid(gpu, trend);
  for (const GemmShape& shape : {gemm(32, 2048, 2048), gemm(100, 3000, 1500), gemm(500, 700, 9000)}) {
    const double expected =
        gemm_time(gpu, shape).total / trend(double(shape.m), double(shape.n), double(shape.k));
    EXPECT_NEAR(table.gemm(gpu, shape)->total / expected, 1, 0.01);
  }
}

TEST(KernelTable, IsNotMisledByOneNeighbourOffThePlane) {
  const Gpu gpu = paper_gpu();
  const KernelTable table = gemm_grid(
      gpu, [](double m, double n, double k) { return m == 64 && n == 4096 && k == 4096 ? 0.2 : 0.8; });
  const GemmShape near = gemm(128, 8192, 8192);  // in the middle of eight rows, the odd one among them
  EXPECT_NEAR(table.gemm(gpu, near)->total / (gemm_time(gpu, near).total / 0.8), 1, 0.05);
}

TEST(KernelTable, HoldsTheUtilisationOfTheBoundaryOutsideAndSaysSo) {
  const Gpu gpu = paper_gpu();
  // 0.5 at one row, 0.9 from 1,024 rows on: a continued trend would pass 1.
  const KernelTable table =
      gemm_grid(gpu, [](double m, double, double) { return std::min(0.9, 0.5 + 0.04 * std::log2(m)); });
  const GemmShape far = gemm(1 << 20, 4096, 4096);
  const OpTime time = *table.gemm(gpu, far);
  EXPECT_FALSE(time.in_range);
  EXPECT_NEAR(time.total, gemm_time(gpu, far).total / 0.9, 0.02 * time.total);
}

TEST(KernelTable, EndsWhereTheMeasuredStaircaseDoes) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  for (std::int64_t m = 64; m <= 8192; m *= 2) {
    table.add_gemm(DType::bf16, m, 1024, 1024, 10.0 + double(m));
    if (m <= 1024) table.add_gemm(DType::bf16, m, 8192, 8192, 900.0 + double(m));
  }
  table.finish(gpu);
  EXPECT_TRUE(table.gemm(gpu, gemm(3000, 1024, 1024))->in_range);
  EXPECT_TRUE(table.gemm(gpu, gemm(700, 5000, 6000))->in_range);
  EXPECT_FALSE(table.gemm(gpu, gemm(3000, 8192, 8192))->in_range);  // within the box, beyond every large row
  EXPECT_FALSE(table.gemm(gpu, gemm(32, 1024, 1024))->in_range);
}

TEST(KernelTable, KnowsThatServingFindsWeightsCold) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  table.add_gemm(DType::bf16, 16, 1024, 1024, 4.0);  // six times 2 MB of weights stay in 100 MB of L2
  table.finish(gpu);
  const double cold = gemm_time(gpu, gemm(16, 1024, 1024, 0)).total;
  const double warm = gemm_time(gpu, gemm(16, 1024, 1024)).total;
  ASSERT_GT(cold, 1.2 * warm);
  EXPECT_NEAR(table.gemm(gpu, gemm(16, 1024, 1024, 0))->total, 4.0 * cold / warm, 1e-9);
}

TEST(KernelTable, KnowsThatServingSustainsALowerClock) {
  const Gpu idle = paper_gpu();
  Gpu busy = idle;
  busy.kernels->sustained_clock_fraction = 0.9;
  KernelTable table;
  table.add_gemm(DType::bf16, 8192, 8192, 8192, 12'000.0);  // compute-bound
  table.finish(busy);                                       // the rows come from an idle card all the same
  const double expected = 12'000.0 * gemm_time(busy, gemm(8192, 8192, 8192)).total /
                          gemm_time(idle, gemm(8192, 8192, 8192)).total;
  EXPECT_GT(expected, 13'000.0);
  EXPECT_NEAR(table.gemm(busy, gemm(8192, 8192, 8192))->total, expected, 1e-6);
}

TEST(KernelTable, IsNeverFasterThanPhysics) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  table.add_gemm(DType::bf16, 4096, 4096, 4096, 1.0);  // 1,374 us at the peak rate
  table.finish(gpu);
  EXPECT_DOUBLE_EQ(table.gemm(gpu, gemm(4096, 4096, 4096))->total,
                   gemm_floor_us(gpu, gemm(4096, 4096, 4096)));
}

TEST(KernelTable, AnswersOnlyForFormatsItHolds) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  table.add_gemm(DType::bf16, 16, 1024, 1024, 4.0);
  table.finish(gpu);
  GemmShape shape = gemm(16, 1024, 1024);
  shape.dtype = DType::fp8;
  EXPECT_FALSE(table.gemm(gpu, shape).has_value());
  shape.dtype = DType::fp16;  // the same kernels
  EXPECT_NEAR(table.gemm(gpu, shape)->total, 4.0, 1e-9);
  EXPECT_FALSE(table.decode(gpu, heads(32, 8, true), batch(1, 1024)).has_value());
}

TEST(KernelTable, TakesTheMeanOfRowsMeasuredTwice) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  for (const double us : {4.0, 9.0}) table.add_gemm(DType::bf16, 16, 1024, 1024, us);
  table.finish(gpu);
  EXPECT_NEAR(table.gemm(gpu, gemm(16, 1024, 1024))->total, 6.0, 1e-9);  // geometric, as utilisations go
}

TEST(KernelTable, DoesNotDependOnTheOrderOfTheRows) {
  const Gpu gpu = paper_gpu();
  std::mt19937 random(7);
  std::vector<std::array<std::int64_t, 3>> shapes;
  for (std::int64_t m = 1; m <= 1024; m *= 2)
    for (std::int64_t n = 256; n <= 8192; n *= 2)
      for (std::int64_t k = 256; k <= 8192; k *= 2) shapes.push_back({m, n, k});
  const auto table_of = [&] {
    KernelTable table;
    for (const auto& [m, n, k] : shapes)
      table.add_gemm(DType::bf16, m, n, k, 20.0 + double((m * 31 + n * 7 + k) % 50));
    table.finish(gpu);
    return table;
  };
  const KernelTable sorted = table_of();
  std::shuffle(shapes.begin(), shapes.end(), random);
  const KernelTable shuffled = table_of();
  for (int i = 0; i < 200; ++i) {
    const GemmShape shape =
        gemm(1 + int(random() % 1500), 100 + int(random() % 9000), 100 + int(random() % 9000));
    EXPECT_EQ(sorted.gemm(gpu, shape)->total, shuffled.gemm(gpu, shape)->total);
  }
}

}  // namespace
}  // namespace tessera
