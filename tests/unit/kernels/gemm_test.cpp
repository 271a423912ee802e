#include "kernels/cost/gemm.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>

#include "models/base/spec.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

double us(const Gpu& gpu, const GemmShape& shape) { return gemm_time(gpu, shape).total; }

// A card on which only the named resource costs anything.
Gpu without_feed_and_latency() {
  Gpu g = paper_gpu();
  g.kernels->gemm.l2_feed_gb_s = 1e9;
  g.kernels->gemm.serial_ns_per_k = g.kernels->gemm.gemv_serial_ns_per_k = 1e-9;
  return g;
}

// Tensor cores so fast that they never decide.
Gpu fast_tensor_gpu() {
  Gpu g = paper_gpu();
  g.bf16_flops_per_clk_sm.value = g.fp8_flops_per_clk_sm.value = 1e7;
  return g;
}
Gpu memory_only_gpu() {
  Gpu g = without_feed_and_latency();
  g.bf16_flops_per_clk_sm.value = g.fp8_flops_per_clk_sm.value = 1e7;
  return g;
}

TEST(Gemm, ALargeSquareTakesItsFlopsAtTheTensorRate) {
  // 100 x 100 tiles of 128 x 128 are exactly 100 waves: no tail. 2 x 12,800^3 FLOP / 100 TFLOP/s = 41,943.04
  // us, and 3 x 12,800^2 x 2 B = 983.04 MB at 800 GB/s = 1,228.8 us under it.
  const double compute = 41943.04, memory = 1228.8;
  const double expected = 2 + std::cbrt(compute * compute * compute + memory * memory * memory);
  EXPECT_NEAR(us(without_feed_and_latency(), {12800, 12800, 12800}), expected, 0.02);
}

TEST(Gemm, OneRowStreamsItsWeights) {
  // 16,384^2 x 2 B = 536.87 MB of weights and two vectors of 32 kB at 800 GB/s.
  EXPECT_NEAR(us(memory_only_gpu(), {1, 16384, 16384}), 2 + 671.0886 + 0.0819, 0.001);
}

TEST(Gemm, OneTileColumnIsASerialLoopOverK) {
  // 2 ns per element of k; 64 kB of weights at 800 GB/s are 0.08 us, invisible under a cube root.
  EXPECT_NEAR(us(fast_tensor_gpu(), {2, 32, 1024}), 2 + 2.048, 0.001);
  EXPECT_NEAR(us(fast_tensor_gpu(), {2, 32, 512}), 2 + 1.024, 0.001);
}

TEST(Gemm, OneRowHasAKernelOfItsOwn) { EXPECT_NEAR(us(fast_tensor_gpu(), {1, 32, 1024}), 2 + 1.024, 0.001); }

TEST(Gemm, SplittingKTradesTheLoopForAFixUp) {
  // k = 16,384 in one piece: 32.8 us of loop. In 32 pieces, the most there are: 1.024 us of loop beside 1.31
  // us for 1 MB of weights, and 3 us + 0.8 x 8 B x 2 x 32 x 32 at 10 TB/s to add the pieces up.
  const double loop = 512 * 0.002, memory = 16384 * 32 * 2 / 0.8e6;
  const double fix_up = 3 + 0.8 * 8 * 2 * 32 * 32 / 1e7;
  const double expected = 2 + fix_up + std::cbrt(loop * loop * loop + memory * memory * memory);
  EXPECT_NEAR(us(fast_tensor_gpu(), {2, 32, 16384}), expected, 0.001);
}

TEST(Gemm, WithoutAGainThereIsNoSplit) {
  Gpu costly = paper_gpu();
  costly.kernels->gemm.split_us = 1000;
  EXPECT_EQ(us(costly, {2, 32, 1024}), us(paper_gpu(), {2, 32, 1024}));
  EXPECT_GT(us(costly, {2, 32, 16384}), us(paper_gpu(), {2, 32, 16384}));
}

TEST(Gemm, CopiesOfWeightsThatFitL2AreNotReadAgain) {
  const Gpu gpu = without_feed_and_latency();
  // 2 MB of weights: six copies are 12 of the 50 MB that stay, a model's worth is never there.
  const GemmShape shape{1, 1000, 1000};
  const auto with_copies = [&](int copies) {
    GemmShape s = shape;
    s.weight_copies = copies;
    return gemm_time(gpu, s).hbm;
  };
  EXPECT_LT(with_copies(1), 0.01);
  EXPECT_LT(with_copies(6), 0.02);
  EXPECT_NEAR(with_copies(0), 2.5, 0.001);
  // At the share itself (25 copies of 2 MB) half still hit.
  EXPECT_NEAR(with_copies(25), 1.25, 0.01);
}

TEST(Gemm, AReplayMuchLongerThanL2FindsWhatTheCardRetains) {
  Gpu g = memory_only_gpu();
  GemmShape shape{16, 12800, 12800, DType::bf16, 6};
  const double io = 2 * 16 * 12800 * 2.0, weights = 2.0 * 12800 * 12800;
  const double lru = us(g, shape);
  g.kernels->gemm.l2_retained = 0.2;
  // A fifth of the part of L2 that keeps operands, of every cycle through six copies, is not read again.
  const double kept =
      0.2 * g.kernels->gemm.l2_share * static_cast<double>(g.l2_bytes) * weights / (6 * weights + io);
  EXPECT_NEAR(lru - us(g, shape), kept / (g.hbm_bytes_per_us() * g.kernels->gemm.hbm_fraction), 0.01);
  shape.weight_copies = 0;  // in serving nothing of a layer is left when it comes round again
  const double serving = us(g, shape);
  g.kernels->gemm.l2_retained = 0;
  EXPECT_EQ(us(g, shape), serving);
}

TEST(Gemm, Fp8DoublesTheRateHalvesTheWeightsAndQuantisesFirst) {
  const Fp8GemmParams fp8{.quantise_us = 5,
                          .quantise_row_ns = 10,
                          .quantise_gb_s = 500,
                          .compute_fraction = 1,
                          .serial_ns_per_k = 1e-9};
  Gpu stream = memory_only_gpu(), compute = without_feed_and_latency();
  stream.kernels->gemm.fp8 = compute.kernels->gemm.fp8 = fp8;
  // 16,384^2 B and a 16 kB + 32 kB vector at 800 GB/s; 3 bytes x 16,384 activations at 500 GB/s.
  EXPECT_NEAR(us(stream, {1, 16384, 16384, DType::fp8}), 2 + 335.5443 + 0.0614 + 5 + 0.0983, 0.0005);
  const double square = 20971.52, memory = 4.0 * 12800 * 12800 / 0.8e6;
  EXPECT_NEAR(
      us(compute, {12800, 12800, 12800, DType::fp8}),
      2 + std::cbrt(square * square * square + memory * memory * memory) + 5 + 3.0 * 12800 * 12800 / 500e3,
      0.02);
}

TEST(Gemm, ShortRowsAreQuantisedAtTheirLatency) {
  Gpu gpu = memory_only_gpu();
  const auto with_row_ns = [&](double ns) {
    gpu.kernels->gemm.fp8 = {.quantise_us = 5, .quantise_row_ns = ns, .quantise_gb_s = 500};
    return us(gpu, {4096, 64, 64, DType::fp8});
  };
  // 64 elements are 0.384 ns of bytes: below 10 and 20 ns a row.
  EXPECT_NEAR(with_row_ns(20) - with_row_ns(10), 40.96, 1e-6);
}

TEST(Gemm, CardsWithoutFp8CoresQuantiseNothing) {
  Gpu gpu = memory_only_gpu();
  gpu.fp8_flops_per_clk_sm.value = 0;
  gpu.kernels->gemm.fp8.quantise_us = 40;
  EXPECT_NEAR(us(gpu, {1, 16384, 16384, DType::fp8}), 2 + 335.5443 + 0.0614, 0.001);
}

TEST(Gemm, SustainedClocksSlowComputeAndNotMemory) {
  const auto slowed = [](Gpu g) {
    g.kernels->sustained_clock_fraction = 0.5;
    return g;
  };
  const GemmShape square{12800, 12800, 12800}, row{1, 16384, 16384};
  EXPECT_NEAR(us(slowed(without_feed_and_latency()), square) / us(without_feed_and_latency(), square), 2,
              0.001);
  EXPECT_NEAR(us(slowed(memory_only_gpu()), row), us(memory_only_gpu(), row), 1e-6);
}

TEST(Gemm, SizesBeyondTheTablesAreMarked) {
  const Gpu gpu = paper_gpu();
  EXPECT_TRUE(gemm_time(gpu, {1, 65536, 65536}).in_range);
  EXPECT_FALSE(gemm_time(gpu, {1, 128256, 4096}).in_range);
  EXPECT_FALSE(gemm_time(gpu, {65536, 4096, 4096}).in_range);
}

TEST(Gemm, FloorCountsFlopsAtTheMaximumClockAndBytesThatCannotStay) {
  const Gpu gpu = paper_gpu();
  EXPECT_DOUBLE_EQ(gemm_floor_us(gpu, {12800, 12800, 12800}), 41943.04);
  EXPECT_DOUBLE_EQ(gemm_floor_us(gpu, {1, 16384, 16384}), 16384.0 * 16384 * 2 / 1e6);
  GemmShape replay{1, 1000, 1000};
  replay.weight_copies = 6;
  EXPECT_NEAR(gemm_floor_us(gpu, replay), 2e6 / 1e8, 1e-12);  // all of it may stay: only the FLOPs count
}

// The formula of the head of gemm.cpp, written out again without any pruning.
double slow_gemm_us(const Gpu& gpu, std::int64_t m, std::int64_t n, std::int64_t k, double copies) {
  const GemmParams& p = gpu.kernels->gemm;
  const double S = static_cast<double>(gpu.sms), feed_rate = p.l2_feed_gb_s * 1e3, es = 2;
  const double w = es * static_cast<double>(n * k), x = es * static_cast<double>(m * k),
               y = es * static_cast<double>(m * n);
  const double share = p.l2_share * static_cast<double>(gpu.l2_bytes);
  const double hx = 1 / (1 + std::pow((w + x + y) / share, p.l2_sharpness));
  const double hw = copies == 0 ? 0 : 1 / (1 + std::pow((copies * w + x + y) / share, p.l2_sharpness));
  const double rate = gpu.peak_flops(DType::bf16) * 1e-6 * p.compute_fraction / S;
  const double tk = 1e-3 * (m == 1 ? p.gemv_serial_ns_per_k : p.serial_ns_per_k);
  double best = 1e300;
  constexpr int kTiles[][2] = {{16, 64},   {32, 64},   {64, 64},   {128, 64},  {256, 64}, {16, 128},
                               {32, 128},  {64, 128},  {128, 128}, {256, 128}, {64, 256}, {128, 256},
                               {192, 128}, {128, 192}, {64, 192},  {64, 32},   {128, 32}};
  for (const auto& [bm, bn] : kTiles)
    for (const int s : {1, 2, 3, 4, 6, 8, 12, 16, 32}) {
      if ((bm > 16 && bm >= 2 * m) || (bn > 64 && bn >= 2 * n) || (s > 1 && k < 64 * s)) continue;
      const double ks = 64 * std::ceil(std::ceil(static_cast<double>(k) / 64) / s);
      const double T = std::ceil(static_cast<double>(m) / bm) * std::ceil(static_cast<double>(n) / bn) * s,
                   f = T / S;
      const double qe = f <= 1 ? 1 : f + p.wave_quantisation * (std::ceil(f) - f);
      const double occupancy = std::min(4.0, std::max(1.0, 32768.0 / (bm * bn)));
      const double nw = std::max(1.0, qe / std::min(occupancy, std::ceil(f)));
      const double c1 = qe * 2 * bm * bn / rate, c2 = f * (bm + bn) * es * S / feed_rate;
      const double comp = std::max(std::pow(std::pow(c1, 4) + std::pow(c2, 4), 0.25), nw * tk) * ks +
                          p.epilogue_us * bm * bn / 16384 * nw;
      const double mem = (w * (1 - hw) + (x + y) * (1 - hx)) / (gpu.hbm_gb_s * 1e3 * p.hbm_fraction) +
                         y * hx / (feed_rate / 3 * std::min(1.0, f));
      const double fix_up = s == 1 ? 0 : p.split_us + 0.8 * 8 * static_cast<double>(m * n) * s / feed_rate;
      best = std::min(best, p.floor_us + std::cbrt(std::pow(comp, 3) + std::pow(mem, 3)) + fix_up);
    }
  return best;
}

GemmShape any_shape() {
  const auto size = [](int top) {
    const int bits = *rc::gen::inRange(0, top);
    return std::int64_t{1} + *rc::gen::inRange<std::int64_t>(0, std::int64_t{1} << bits);
  };
  GemmShape s{size(15), size(17), size(17)};
  s.weight_copies = *rc::gen::element(0, 1, 6);
  return s;
}

TEST(Gemm, PruningNeverChangesTheAnswer) {
  Gpu gpu = paper_gpu();
  gpu.kernels->gemm.epilogue_us = 2;
  EXPECT_TRUE(rc::check([&] {
    const GemmShape s = any_shape();
    RC_ASSERT(std::abs(us(gpu, s) / slow_gemm_us(gpu, s.m, s.n, s.k, s.weight_copies) - 1) < 1e-9);
  }));
}

TEST(Gemm, NoCardBeatsPhysics) {
  for (const std::string& name : config_names("gpus")) {
    const Gpu gpu = load_gpu(name);
    EXPECT_TRUE(rc::check(name, [&] {
      GemmShape s = any_shape();
      s.dtype = *rc::gen::element(DType::bf16, DType::fp8);
      const OpTime t = gemm_time(gpu, s);
      RC_ASSERT(t.total >= gemm_floor_us(gpu, s));
      RC_ASSERT(t.total >= t.hbm);
      RC_ASSERT(std::isfinite(t.total) && t.compute > 0 && t.launch > 0);
    }));
  }
}

TEST(Gemm, FasterMemoryIsNeverSlower) {
  const Gpu gpu = load_gpu("h100-sxm");
  Gpu faster = gpu;
  faster.hbm_gb_s.value *= 1.4;
  EXPECT_TRUE(rc::check([&] {
    const GemmShape s = any_shape();
    RC_ASSERT(us(faster, s) <= us(gpu, s));
  }));
}

}  // namespace
}  // namespace tessera
