#include "kernels/cost/moe.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>

#include "kernels/cost/moe_load.hpp"
#include "models/base/spec.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

MoeShape layer(std::int64_t tokens) {
  return {.tokens = tokens, .hidden = 1024, .expert_width = 512, .experts = 64, .top_k = 4};
}

// Only fixed times, bytes and FLOPs count.
Gpu plain_gpu() {
  Gpu g = paper_gpu();
  MoeParams& p = g.kernels->moe;
  p.floor_us = 20;
  p.permute_us = 3;
  p.per_100_experts_us = 5;
  p.compute_fraction = 1;
  p.hbm_fraction = 0.5;
  p.l2_feed_gb_s = 1e9;
  p.serial_ns_per_k = 1e-9;
  p.wave_quantisation = 0;
  p.elementwise_fraction = 1e6;
  p.all_assignments = false;
  return g;
}

TEST(ExpertLoad, BalancedAssignmentsGoRoundBeforeAnyoneGetsTwo) {
  const ExpertLoad few = expert_load(layer(8));  // 32 assignments, 64 experts
  EXPECT_DOUBLE_EQ(few.touched(), 32);
  EXPECT_DOUBLE_EQ(few.rows(), 32);
  const ExpertLoad many = expert_load(layer(24));  // 96: half the experts have two
  EXPECT_DOUBLE_EQ(many.touched(), 64);
  EXPECT_DOUBLE_EQ(many.rows(), 96);
  EXPECT_DOUBLE_EQ(many.padded_rows(16), 64 * 16);
  EXPECT_DOUBLE_EQ(expert_load(layer(64 * 17 / 4)).padded_rows(16), 64 * 32);
}

TEST(ExpertLoad, ARankHoldsItsShareOfBalancedWork) {
  MoeShape s = layer(64);
  s.ep = 8;
  EXPECT_DOUBLE_EQ(expert_load(s).touched(), 8);
  EXPECT_DOUBLE_EQ(expert_load(s).rows(), 32);
}

TEST(ExpertLoad, APowerLawConservesAssignmentsAndLeavesTheHeaviestRankMore) {
  EXPECT_TRUE(rc::check([] {
    MoeShape s = layer(*rc::gen::inRange<std::int64_t>(1, 20000));
    s.power_law = *rc::gen::element(1.01, 1.2);
    RC_ASSERT(std::abs(expert_load(s).rows() - static_cast<double>(s.tokens) * s.top_k) < 1e-6);
    s.ep = *rc::gen::element(2, 8, 64);
    const double mean = static_cast<double>(s.tokens) * s.top_k / s.ep;
    RC_ASSERT(expert_load(s).rows() >= mean - 1e-6);
    RC_ASSERT(expert_load(s).touched() <= 64.0 / s.ep + 1e-9);
  }));
}

TEST(ExpertLoad, TheSteeperTheLawTheMoreUnequal) {
  MoeShape s = layer(4096);
  s.ep = 64;
  s.power_law = 1.01;
  const double gentle = expert_load(s).rows();
  s.power_law = 1.6;
  EXPECT_GT(expert_load(s).rows(), gentle);
  EXPECT_GT(gentle, 4096.0 * 4 / 64);
}

TEST(ExpertLoad, DrawnExpertsConserveAssignmentsAndOverlapAsTokensAgree) {
  EXPECT_TRUE(rc::check([] {
    MoeShape s = layer(*rc::gen::inRange<std::int64_t>(1, 5000));
    s.experts = *rc::gen::element(4, 8, 64, 256);
    s.top_k = *rc::gen::inRange(1, 5);
    s.drawn = true;
    s.ep = *rc::gen::element(1, 2, 4);
    const auto assignments = static_cast<double>(s.tokens) * s.top_k;
    const ExpertLoad load = expert_load(s);
    RC_ASSERT(std::abs(load.rows() * s.ep - assignments) < 1e-6 * assignments);
    RC_ASSERT(load.touched() * s.ep <= std::min<double>(assignments, s.experts) * (1 + 1e-9));
    RC_ASSERT(load.touched() * s.ep >= s.top_k * (1 - 1e-9));
  }));
}

TEST(ExpertLoad, OneTokenDrawsItsExpertsAndManyDrawAll) {
  MoeShape s = layer(1);
  s.drawn = true;
  EXPECT_NEAR(expert_load(s).touched(), 4, 1e-9);
  s.tokens = 100000;
  EXPECT_NEAR(expert_load(s).touched(), 64, 1e-3);
  // Even if all were equally popular, 16 tokens x 4 leave (1 - 1/16)^16 = 36 % of 64 experts idle.
  s.tokens = 16;
  EXPECT_LT(expert_load(s).touched(), 64 * (1 - std::pow(1 - 1.0 / 16, 16)));
  EXPECT_GT(expert_load(s).touched(), 20);
}

TEST(Moe, FewTokensReadTheExpertsTheyTouch) {
  // 8 tokens x 4 touch 32 experts of 3 x 1,024 x 512 x 2 B: 100.66 MB at 500 GB/s = 201.33 us, with 65.5
  // + 65.5 kB of results. Fixed: 20 + 3 log2(1 + 32/64) + 5 x 0.64.
  const double fixed = 20 + 3 * std::log2(1.5) + 3.2;
  const double memory = (32 * 3.0 * 1024 * 512 * 2 + 32 * (1024 + 1024) * 2) / 0.5e6;
  Gpu gpu = plain_gpu();
  gpu.bf16_flops_per_clk_sm.value = 1e7;  // no compute to speak of
  EXPECT_NEAR(moe_time(gpu, layer(8)).total, fixed + memory, 0.01);
}

TEST(Moe, ManyTokensTakeTheirFlops) {
  // 65,536 tokens x 4 rows x 3 x 1,024 x 512 multiply-adds at 100 TFLOP/s = 8,246 us against 2 GB of traffic.
  Gpu gpu = plain_gpu();
  gpu.hbm_gb_s.value = 1e6;
  gpu.kernels->moe.floor_us = gpu.kernels->moe.permute_us = gpu.kernels->moe.per_100_experts_us = 0;
  const double flops = 2 * 65536.0 * 4 * 3 * 1024 * 512;
  EXPECT_NEAR(moe_time(gpu, layer(65536)).total / (flops / 1e14 * 1e6), 1, 0.001);
}

TEST(Moe, AnUngatedExpertHasTwoMatricesNotThree) {
  MoeShape ungated = layer(8);
  ungated.gated = false;
  const Gpu gpu = plain_gpu();
  EXPECT_NEAR(moe_time(gpu, ungated).hbm / moe_time(gpu, layer(8)).hbm, 2.0 / 3, 0.001);
  EXPECT_NEAR(moe_floor_us(gpu, ungated) / moe_floor_us(gpu, layer(8)), 2.0 / 3, 1e-9);
}

TEST(Moe, KernelsThatWalkAllAssignmentsPayForOtherRanks) {
  Gpu gpu = plain_gpu();
  gpu.kernels->moe.elementwise_fraction = 1;
  MoeShape s = layer(4096);
  s.ep = 8;
  const double own = moe_time(gpu, s).total;
  gpu.kernels->moe.all_assignments = true;
  // 7/8 of 16,384 assignments: zeroed (1,024 + 1,024), activated (1,024 + 512) and summed (1,024) elements.
  const double extra = 16384 * 7.0 / 8 * (2048 + 1536 + 1024) * 2 / 1e6;
  EXPECT_NEAR(moe_time(gpu, s).total - own, extra, 1e-6);
  s.ep = 1;
  const double alone = moe_time(gpu, s).total;
  gpu.kernels->moe.all_assignments = false;
  EXPECT_EQ(moe_time(gpu, s).total, alone);
}

TEST(Moe, SlicingAnExpertOverRanksCutsItsWeights) {
  MoeShape sliced = layer(8);
  sliced.tp = 4;
  EXPECT_NEAR(moe_floor_us(plain_gpu(), sliced) * 4, moe_floor_us(plain_gpu(), layer(8)), 1e-9);
}

// 8 tokens touch 32 experts of 3 x 1,024 x 512 weights of 4.25 bits, with figures of their own.
TEST(Moe, Mxfp4ExpertsHaveTheirOwnFigures) {
  Gpu gpu = plain_gpu();
  gpu.bf16_flops_per_clk_sm.value = 1e7;
  gpu.kernels->moe.mxfp4 = gpu.kernels->moe;
  gpu.kernels->moe.mxfp4->floor_us = 45;
  MoeShape s = layer(8);
  s.dtype = DType::fp4;
  const double fixed = 45 + 3 * std::log2(1.5) + 3.2;
  const double memory = (32 * 3.0 * 1024 * 512 * 4.25 / 8 + 32 * (1024 + 1024) * 2) / 0.5e6;
  EXPECT_NEAR(moe_time(gpu, s).total, fixed + memory, 0.01);
  EXPECT_TRUE(moe_time(gpu, s).in_range);
  gpu.kernels->moe.mxfp4.reset();
  EXPECT_FALSE(moe_time(gpu, s).in_range);
}

// A card without 4-bit units multiplies the converted weights at its 16-bit rate.
TEST(Moe, Mxfp4ExpertsMultiplyIn16Bits) {
  Gpu gpu = plain_gpu();
  gpu.hbm_gb_s.value = 1e6;
  gpu.kernels->moe.floor_us = gpu.kernels->moe.permute_us = gpu.kernels->moe.per_100_experts_us = 0;
  gpu.kernels->moe.mxfp4 = gpu.kernels->moe;
  MoeShape s = layer(65536);
  s.dtype = DType::fp4;
  EXPECT_NEAR(moe_time(gpu, s).total / moe_time(gpu, layer(65536)).total, 1, 0.001);
}

TEST(Moe, EightBitExpertsAreOutsideTheFit) {
  MoeShape s = layer(8);
  EXPECT_TRUE(moe_time(plain_gpu(), s).in_range);
  s.dtype = DType::fp8;
  EXPECT_FALSE(moe_time(plain_gpu(), s).in_range);
}

TEST(Moe, NoCardBeatsPhysics) {
  for (const std::string& name : config_names("gpus")) {
    const Gpu gpu = load_gpu(name);
    EXPECT_TRUE(rc::check(name, [&] {
      MoeShape s = layer(*rc::gen::inRange<std::int64_t>(1, 30000));
      s.hidden = 64 * *rc::gen::inRange(1, 128);
      s.expert_width = 64 * *rc::gen::inRange(1, 256);
      s.ep = *rc::gen::element(1, 4, 64);
      s.tp = *rc::gen::element(1, 8);
      s.power_law = *rc::gen::element(0.0, 1.2);
      s.gated = *rc::gen::arbitrary<bool>();
      const OpTime t = moe_time(gpu, s);
      RC_ASSERT(t.total >= moe_floor_us(gpu, s));
      RC_ASSERT(std::isfinite(t.total) && t.hbm > 0 && t.compute > 0);
    }));
  }
}

}  // namespace
}  // namespace tessera
