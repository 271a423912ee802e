// The host executor: number formats, memory that knows what was written, and that only loaded tiles are read.
#include "kernels/host/run.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/host/attention.hpp"
#include "tests/support/attention_reference.hpp"

namespace tessera::host {
namespace {

TEST(HostFormats, RoundToTheNearestValueTiesToEven) {
  EXPECT_EQ(rounded(1.0f + 0x1p-8f, Format::bf16), 1.0f) << "halfway between 1 and 1 + 2^-7: to even";
  EXPECT_EQ(rounded(1.0f + 0x1.8p-7f, Format::bf16), 1.0f + 0x1p-6f);
  EXPECT_EQ(rounded(1.0f + 0x1.1p-8f, Format::bf16), 1.0f + 0x1p-7f);
  EXPECT_EQ(rounded(1.0f + 0x1p-11f, Format::fp16), 1.0f);
  EXPECT_EQ(rounded(1.0f + 0x1.8p-10f, Format::fp16), 1.0f + 0x1p-9f);
  EXPECT_EQ(rounded(-3.14159274f, Format::fp16), -3.140625f);
  EXPECT_EQ(rounded(3.14159274f, Format::fp32), 3.14159274f);
}

TEST(HostFormats, EndsOfTheRangeOfFp16) {
  EXPECT_EQ(rounded(65504.0f, Format::fp16), 65504.0f);
  EXPECT_EQ(rounded(65520.0f, Format::fp16), INFINITY);
  EXPECT_EQ(rounded(-70000.0f, Format::fp16), -INFINITY);
  EXPECT_EQ(rounded(0x1.8p-24f, Format::fp16), 0x1p-23f) << "subnormal steps of 2^-24, tie to even";
  EXPECT_EQ(rounded(0x1p-26f, Format::fp16), 0.0f);
  EXPECT_EQ(rounded(-INFINITY, Format::fp16), -INFINITY);
  EXPECT_EQ(rounded(1e30f, Format::bf16), 0x1.94p99f) << "bf16 has the range of fp32";
}

TEST(HostMemory, WhatNothingHasWrittenIsNotANumber) {
  HostTensor t = HostTensor::planes(2, 3, 4, Format::fp32, 4);
  t.write(1, 2, 3, 5.0f);
  EXPECT_EQ(t.at(1, 2, 3), 5.0f);
  EXPECT_TRUE(std::isnan(t.at(1, 2, 2)));
}

TEST(HostMemory, TheSameNumbersUnderAnotherView) {
  HostTensor t = HostTensor::planes(1, 6, 2, Format::bf16, 2);
  for (int row = 0; row < 6; ++row) t.write(0, row, 0, static_cast<float>(row));
  t.view([](std::int64_t plane, std::int64_t row) { return (plane * 3 + row) * 2; });
  EXPECT_EQ(t.at(1, 0, 0), 3.0f);
}

TEST(HostMemoryDeath, TilesOutsideATensorAreOurFault) {
  HostTensor t = HostTensor::planes(1, 3, 4, Format::fp32, 4);
  EXPECT_DEATH((void)t.at(0, 3, 0), "inside its tensor");
  EXPECT_DEATH((void)t.row(0, 0, 2, 3), "columns");
}

TEST(HostSram, ReadsOutsideALoadedTileAreNotNumbers) {
  HostTensor t = HostTensor::planes(1, 3, 4, Format::fp32, 4);
  for (int r = 0; r < 3; ++r)
    for (int c = 0; c < 4; ++c) t.write(0, r, c, static_cast<float>(10 * r + c));
  Sram sram;
  sram.load({.tensor = Tensor::k, .rows = 2, .cols = 2, .plane = 0, .row = 1, .col = 2, .element_bytes = 4},
            t);
  const LocalTile& tile = sram[Tensor::k];
  EXPECT_EQ(tile(0, 0), 12.0f);
  EXPECT_EQ(tile(1, 1), 23.0f);
  EXPECT_TRUE(std::isnan(tile(2, 0)) && std::isnan(tile(0, 2)) && std::isnan(tile(-1, 0)));
  EXPECT_TRUE(std::isnan(sram[Tensor::v](0, 0))) << "never loaded";
  EXPECT_TRUE(std::isnan(sram.find(Tensor::k, 0, 0)(0, 0)));
  sram.forget(0, [](Tensor) { return false; });
  EXPECT_EQ(sram.tiles(), 0u);
}

TEST(HostRun, AProgramThatLeavesKeysOutIsFoundOut) {
  AttentionProblem p;
  p.q_heads = p.kv_heads = 2;
  p.head_dim = p.v_head_dim = 16;
  p.sequences = {{1, 900}};
  const AttentionInputs in = random_inputs(p, Format::bf16, 3);
  const FlashLaunch launch = fa3::launch(p, FlashCard{.sms = 1});
  const std::vector<double> expected = test::reference_attention(in);
  EXPECT_LT(test::relative_error(run_attention(launch, in, {}).output, expected), 1e-5);

  FlashLaunch broken = launch;
  broken.forward.problem.window = 800;  // a mask the caller did not ask for
  EXPECT_GT(test::relative_error(run_attention(broken, in, {}).output, expected), 0.05);
}

TEST(HostRun, RunsAreRepeatableToTheBit) {
  AttentionProblem p;
  p.q_heads = 4, p.kv_heads = 2;
  p.head_dim = p.v_head_dim = 16;
  p.page_tokens = 16;
  p.sequences = {{5, 40}, {1, 300}};
  const auto once = [&] {
    return run_attention(fa2::launch(p, FlashCard{}), random_inputs(p, Format::fp16, 9),
                         {Format::fp16, Format::fp16});
  };
  EXPECT_EQ(once().output, once().output);
}

TEST(HostRun, StoringRoundsAndFp32DoesNot) {
  AttentionProblem p;
  p.head_dim = p.v_head_dim = 16;
  p.sequences = {{20, 20}};
  const AttentionInputs in = random_inputs(p, Format::bf16, 4);
  const std::vector<double> expected = test::reference_attention(in);
  const FlashLaunch launch = fa2::launch(p, FlashCard{});
  const double exact = test::relative_error(run_attention(launch, in, {}).output, expected);
  const double stored =
      test::relative_error(run_attention(launch, in, {Format::bf16, Format::bf16}).output, expected);
  EXPECT_LT(exact, 1e-6);
  EXPECT_GT(stored, 1e-4);
  EXPECT_LT(stored, 4e-3);
}

TEST(HostRun, SoftmaxOverRowsThatDoNotFitReadsThemTwice) {
  AttentionProblem p;
  p.head_dim = p.v_head_dim = 8;
  p.causal = false;
  p.sequences = {{3, 2400}};
  const StandardAttention launch(p, {.smem_per_cta = 9216});
  const StandardKernel& softmax = launch.kernels[1];
  ASSERT_EQ(softmax.kind, StandardKernel::Kind::softmax);
  ASSERT_FALSE(softmax.rows_fit);
  EXPECT_EQ(traffic_of(softmax).read_of(Tensor::scores), 2 * 3 * 2400 * 2);
  const AttentionInputs in = random_inputs(p, Format::bf16, 5);
  const AttentionRun run = run_attention(launch, in, {});
  EXPECT_LT(test::relative_error(run.output, test::reference_attention(in)), 1e-5);
  EXPECT_EQ(run.traffic.read, traffic_of_launch(launch).read);
}

}  // namespace
}  // namespace tessera::host
