// KV capacity: each term by hand, one measured card, and refusals that show the sum.
#include "models/parallel/capacity.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "models/base/error.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kGiB = 1LL << 30;
constexpr std::int64_t kRtx4090 = 25'250'627'584;  // what the driver reports

RankModel llama8b() { return partition(load_model("llama-3.1-8b"), {}, DType::bf16); }
CapacityBreakdown on_4090(const MemoryRule& rule = {}) {
  return derive_kv_capacity(llama8b(), kRtx4090, 0.9, rule, {});
}

// The rule's defaults were fixed before comparing. A real vLLM 0.19 run of this model on this card had 2588
// blocks.
TEST(Capacity, Rtx4090WithLlama8B) {
  const CapacityBreakdown c = on_4090();
  EXPECT_EQ(c.budget_bytes, 22'725'564'825);
  EXPECT_EQ(c.weight_bytes, 16'060'522'496);
  EXPECT_EQ(c.buffer_bytes, 33'554'432);
  EXPECT_EQ(c.forward_bytes, 2048LL * 2 * (3 * 14336 + 3 * 4096));
  EXPECT_EQ(c.sampler_bytes, 256LL * 128256 * 34);
  EXPECT_EQ(c.activation_bytes, c.sampler_bytes);
  EXPECT_EQ(c.nontorch_bytes, 171'798'692);  // 0.16 GiB
  EXPECT_EQ(c.block_bytes, 2'097'152);
  EXPECT_EQ(c.blocks, 2547);
  EXPECT_EQ(c.tokens(), 2547 * 16);
  EXPECT_NEAR(static_cast<double>(c.blocks), 2588, 0.05 * 2588);
}

// Corners worked out by hand: 34 B per logit + 0.35 GiB, and 14 B per logit + 0.16 GiB.
TEST(Capacity, TheUncertaintySpansTheRulesRanges) {
  const CapacityBreakdown c = on_4090();
  EXPECT_EQ(c.blocks_low, 2450);
  EXPECT_EQ(c.blocks_high, 2861);
  EXPECT_LE(c.blocks_low, 2588);
  EXPECT_GE(c.blocks_high, 2588);
}

// Public logs (vllm issue 10517, RTX 3090): 20 k tokens peak at 2.07 GiB, 29 k at 2.99 GiB.
TEST(Capacity, TheForwardPeakFollowsPublicLogs) {
  const auto forward = [](std::int64_t tokens) {
    return static_cast<double>(
               derive_kv_capacity(llama8b(), 100 * kGiB, 0.9, {}, {.max_batched_tokens = tokens})
                   .forward_bytes) /
           kGiB;
  };
  EXPECT_NEAR(forward(20'000), 2.07, 0.01 * 2.07);
  EXPECT_NEAR(forward(29'000), 2.99, 0.01 * 2.99);
}

TEST(Capacity, TheLargerOfForwardAndSamplerCounts) {
  const CapacityBreakdown few =
      derive_kv_capacity(llama8b(), 100 * kGiB, 0.9, {}, {.max_batched_tokens = 32768, .max_num_seqs = 1});
  EXPECT_EQ(few.activation_bytes, few.forward_bytes);
  const CapacityBreakdown many =
      derive_kv_capacity(llama8b(), 100 * kGiB, 0.9, {}, {.max_batched_tokens = 16, .max_num_seqs = 512});
  EXPECT_EQ(many.activation_bytes, many.sampler_bytes);
}

TEST(Capacity, TheTermsAddUp) {
  MemoryRule rule;
  rule.cuda_graph_gib = 0.5;
  const CapacityBreakdown c = on_4090(rule);
  EXPECT_EQ(c.budget_bytes, c.weight_bytes + c.buffer_bytes + c.activation_bytes + c.nontorch_bytes +
                                c.cuda_graph_bytes + c.kv_bytes);
  EXPECT_EQ(c.cuda_graph_bytes, kGiB / 2);
  EXPECT_EQ(c.blocks, c.kv_bytes / c.block_bytes);
  EXPECT_LT(c.blocks, on_4090().blocks);
}

TEST(Capacity, BlocksOfTwiceTheTokensAreHalfAsMany) {
  const CapacityBreakdown c = derive_kv_capacity(llama8b(), kRtx4090, 0.9, {}, {.block_tokens = 32});
  EXPECT_EQ(c.blocks, 2547 / 2);
}

TEST(Capacity, MoreRanksLeaveMoreRoom) {
  const RankModel two = partition(load_model("llama-3.1-8b"), {.tp = 2}, DType::bf16);
  const CapacityBreakdown c = derive_kv_capacity(two, kRtx4090, 0.9, {}, {});
  EXPECT_GT(c.tokens(), 2 * on_4090().tokens());
}

TEST(Capacity, AModelThatDoesNotFitIsRefusedWithTheSum) {
  const RankModel big = partition(load_model("llama-3.1-70b"), {}, DType::bf16);
  try {
    derive_kv_capacity(big, 80 * kGiB, 0.9, {}, {});
    FAIL() << "140 GB of weights in 80 GiB";
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("llama-3.1-70b does not fit"), std::string::npos) << text;
    EXPECT_NE(text.find("- weights"), std::string::npos) << text;
    EXPECT_NE(text.find("141,107,412,992 B"), std::string::npos) << text;  // 2 x 70,553,706,496
    EXPECT_NE(text.find("x 0.9"), std::string::npos) << text;
  }
}

TEST(Capacity, LessThanOneBlockIsRefusedToo) {
  const RankModel rank = llama8b();
  const std::int64_t used = 16'060'522'496 + 33'554'432 + 256LL * 128256 * 34 + 171'798'692;
  EXPECT_THROW(derive_kv_capacity(rank, used + 2'097'151, 1.0, {}, {}), InputError);
  EXPECT_EQ(derive_kv_capacity(rank, used + 2'097'152, 1.0, {}, {}).blocks, 1);
}

TEST(Capacity, UtilisationIsAShare) {
  EXPECT_THROW(derive_kv_capacity(llama8b(), kRtx4090, 0.0, {}, {}), InputError);
  EXPECT_THROW(derive_kv_capacity(llama8b(), kRtx4090, 1.01, {}, {}), InputError);
  EXPECT_THROW(derive_kv_capacity(llama8b(), kRtx4090, std::nan(""), {}, {}), InputError);
}

TEST(Capacity, TheBreakdownReadsAsASum) {
  const std::string text = to_text(on_4090());
  for (const char* part :
       {"25,250,627,584 B", "x 0.9", "- weights", "16,060,522,496 B", "- buffers", "- activation peak",
        "- non-torch growth", "= for KV", "2,547 blocks", "from 2,450 to 2,861"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

}  // namespace
}  // namespace tessera
