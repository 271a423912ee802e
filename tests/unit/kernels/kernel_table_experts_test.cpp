// The `table` source on experts and collectives.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cost/kernel_table.hpp"

namespace tessera {
namespace {

MoeShape experts(std::int64_t tokens) {
  MoeShape s;
  s.tokens = tokens, s.hidden = 2048, s.expert_width = 768, s.experts = 128, s.top_k = 8;
  return s;
}

TEST(KernelTableExperts, InterpolatesExpertsBetweenTokenCountsOfOneLayer) {
  const Gpu gpu = load_gpu("h100-sxm");
  KernelTable table;
  for (const std::int64_t tokens : {64, 1024})
    table.add_moe(experts(tokens), moe_time(gpu, experts(tokens)).total / (tokens == 64 ? 0.5 : 1.0));
  table.finish(gpu);
  EXPECT_NEAR(table.moe(gpu, experts(64))->total, 2 * moe_time(gpu, experts(64)).total, 1e-9);
  // Half way in octaves, half way in ln u.
  EXPECT_NEAR(table.moe(gpu, experts(256))->total, moe_time(gpu, experts(256)).total / std::sqrt(0.5), 1e-6);
  EXPECT_TRUE(table.moe(gpu, experts(256))->in_range);
  EXPECT_FALSE(table.moe(gpu, experts(4096))->in_range);
  EXPECT_NEAR(table.moe(gpu, experts(4096))->total, moe_time(gpu, experts(4096)).total, 1e-6);
  MoeShape split = experts(64);
  split.ep = 2;
  EXPECT_FALSE(table.moe(gpu, split).has_value());
}

TEST(KernelTableCollectives, KeepsCollectivesOfDifferentGroupsApart) {
  const Gpu gpu = load_gpu("h100-sxm");
  KernelTable table;
  table.add_collective(Collective::all_reduce, 8, 1e6, DType::fp16, 50);
  table.add_all_reduce(8, 1e6, true, 20);
  table.finish(gpu);
  EXPECT_NEAR(table.collective(gpu, Collective::all_reduce, 8, 1e6, DType::bf16)->total, 50, 1e-9);
  EXPECT_NEAR(table.all_reduce(gpu, 8, 1e6, true)->total, 20, 1e-9);
  EXPECT_FALSE(table.collective(gpu, Collective::all_gather, 8, 1e6, DType::fp16).has_value());
  EXPECT_FALSE(table.collective(gpu, Collective::all_reduce, 4, 1e6, DType::fp16).has_value());
  EXPECT_FALSE(table.collective(gpu, Collective::all_reduce, 8, 1e6, DType::int8).has_value());
  EXPECT_FALSE(table.all_reduce(gpu, 8, 1e6, false).has_value());
  // Never faster than the links, whatever was measured.
  KernelTable wrong;
  wrong.add_all_reduce(8, 1e9, true, 0.001);
  wrong.finish(gpu);
  EXPECT_GE(wrong.all_reduce(gpu, 8, 1e9, true)->total,
            collective_floor_us(gpu, Collective::all_reduce, 8, 1e9));
}

}  // namespace
}  // namespace tessera
