// Times of moves between tiers: one block over the host link takes 1 us, over the devices below as said.
#include "sim/memory/tiers/tier_stack.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr std::int64_t kUs = 1'000'000;  // picoseconds

TierLink host_link() {
  TierLink::Spec spec;
  spec.name = "host";
  spec.gb_s = {10, 10};
  spec.both_gb_s = 20;
  return TierLink(spec);
}

// A block of 10 kB takes `us` each way.
TierSpec tier(const char* name, std::uint32_t blocks, double us = 0) {
  TierSpec spec;
  spec.name = name;
  spec.capacity_blocks = blocks;
  spec.most_backlog_ps = 1'000'000 * kUs;
  if (us > 0) {
    TierDevice device;
    device.read_gb_s = device.write_gb_s = {10 / us, ""};
    device.both_gb_s = {20 / us, ""};
    spec.device = device;
  }
  return spec;
}

const BlockShape kBlock{10'000, 1};
using Blocks = std::vector<BlockHash>;

TEST(TierStack, HopsArePassedBlockByBlock) {
  TierStack stack{host_link(), kBlock, {tier("drive", 100, 3)}};
  const Blocks blocks{1, 2, 3, 4};
  stack.computed(blocks, 0, 0, 0);
  // Down: the host link's last block is out at 4 us, the drive needs 12 us from 1 us on.
  EXPECT_EQ(stack.store(0).ready_ps(1), 13 * kUs);
  // Up: the drive reads for 12 us, and the last block takes 1 us more.
  const auto up = stack.load(blocks, 0, 100 * kUs);
  EXPECT_EQ(up.end_ps, (100 + 12 + 1) * kUs);
  EXPECT_LE(up.first_ps, (100 + 12) * kUs);
  EXPECT_GE(up.first_ps, (100 + 3 + 1) * kUs);
}

TEST(TierStack, CompressionSavesLinkAndRoomAndCostsTheCodec) {
  TierSpec spec = tier("store", 100, 3);
  spec.ratio = 3;
  TierStack quick{host_link(), kBlock, {spec}};
  quick.computed(Blocks{1, 2, 3, 4}, 0, 0, 0);
  EXPECT_EQ(quick.device(0)->use(Direction::write).bytes, 4 * 3334);
  EXPECT_NEAR(static_cast<double>(quick.load(Blocks{1, 2, 3, 4}, 0, 100 * kUs).end_ps), (100 + 4 + 1) * kUs,
              0.01 * kUs)
      << "one microsecond a block where it took three";
  spec.decompress_gb_s = 2;  // 5 us a block: now that is the narrowest
  TierStack slow{host_link(), kBlock, {spec}};
  slow.computed(Blocks{1, 2, 3, 4}, 0, 0, 0);
  EXPECT_NEAR(static_cast<double>(slow.load(Blocks{1, 2, 3, 4}, 0, 100 * kUs).end_ps),
              (100 + 1 + 4 * 5 + 1) * kUs, 0.01 * kUs);
}

TEST(TierStack, WhatComesUpFromBelowIsKeptInHostMemory) {
  TierStack stack{host_link(), kBlock, {tier("host", 2), tier("drive", 100, 3)}};
  stack.computed(Blocks{1, 2}, 0, 0, 0);
  stack.computed(Blocks{3, 4}, 0, 100 * kUs, 100 * kUs);  // pushes 1 and 2 out of host memory
  EXPECT_FALSE(stack.store(0).contains(1));
  stack.load(Blocks{1, 2}, 0, 200 * kUs);
  EXPECT_TRUE(stack.store(0).contains(1) && stack.store(0).contains(2));
  EXPECT_EQ(stack.count(0).promoted, 2);
  EXPECT_EQ(stack.count(1).loaded, 2);
  const auto again = stack.load(Blocks{1, 2}, 0, 300 * kUs);
  EXPECT_EQ(again.end_ps, 302 * kUs) << "over the host link alone";
  stack.audit();
}

TEST(TierStack, AnExclusiveTierHoldsWhatTheOneAboveHasDropped) {
  TierSpec drive = tier("drive", 100, 3);
  drive.write_through = false;
  drive.exclusive = true;
  TierStack stack{host_link(), kBlock, {tier("host", 2), drive}};
  stack.computed(Blocks{1, 2}, 0, 0, 0);
  EXPECT_EQ(stack.store(1).resident(), 0u);
  stack.computed(Blocks{3, 4}, 0, 100 * kUs, 100 * kUs);
  EXPECT_EQ(stack.store(1).resident(), 2u);
  stack.load(Blocks{1, 2}, 0, 200 * kUs);
  EXPECT_FALSE(stack.store(1).contains(1)) << "it moved up";
  EXPECT_TRUE(stack.store(1).contains(3)) << "what made room for it moved down";
  stack.audit();
}

TEST(TierStack, AnExclusiveTierHasItsBlocksUntilTheyAreInHbm) {
  TierSpec host = tier("host", 10);
  host.write_through = false;
  host.exclusive = true;
  TierStack stack{host_link(), kBlock, {host}};
  stack.dropped(Blocks{1, 2, 3}, 0);
  stack.load(Blocks{1, 2, 3}, 0, 100 * kUs);
  EXPECT_EQ(stack.store(0).resident(), 3u) << "the load may still be cancelled";
  stack.load(Blocks{1, 2, 3}, 0, 200 * kUs);
  stack.arrived(Blocks{1, 2, 3, 4});
  EXPECT_EQ(stack.store(0).resident(), 0u);
  EXPECT_EQ(stack.store(0).count().erased, 3);
  stack.audit();
}

TEST(TierStack, WhatNoTierTakesDoesNotCrossTheHostLink) {
  // Room for two blocks in host memory, and a drive that takes nothing more once it is 10 us behind.
  TierSpec drive = tier("drive", 100, 50);
  drive.most_backlog_ps = 10 * kUs;
  TierStack stack{host_link(), kBlock, {tier("host", 2), drive}};
  const auto written = [&] { return stack.host().use(Direction::write).bytes / kBlock.bytes; };
  stack.computed(Blocks{1, 2, 3}, 0, 0, 0);
  EXPECT_EQ(stack.store(0).count().refused, 1);
  EXPECT_EQ(written(), 3) << "the drive takes all three";
  stack.computed(Blocks{4, 5, 6, 7}, 0, 1 * kUs, 1 * kUs);
  EXPECT_EQ(stack.count(1).left_out, 4);
  EXPECT_EQ(stack.store(0).count().refused, 5);
  EXPECT_EQ(written(), 3) << "host memory is full of what is under way, the drive is behind";
  stack.computed(Blocks{8, 9, 10}, 0, 50 * kUs, 50 * kUs);
  EXPECT_EQ(stack.count(1).left_out, 7);
  EXPECT_EQ(written(), 5) << "two of them to host memory";
  stack.audit();
  // A tier that HBM's victims go to: what it refuses is gone at once.
  TierSpec evict = tier("host", 2);
  evict.write_through = false;
  TierStack fallen{host_link(), kBlock, {evict}};
  EXPECT_EQ(fallen.dropped(Blocks{1, 2, 3}, 0), 2 * kUs) << "two blocks' time";
  EXPECT_EQ(fallen.dropped(Blocks{4, 5}, 1 * kUs), 1 * kUs);
  EXPECT_EQ(fallen.host().use(Direction::write).bytes, 2 * kBlock.bytes);
  fallen.audit();
}

TEST(TierStack, EnginesShareAGlobalTierAndItsPool) {
  TierSpec remote = tier("store", 100, 1);
  remote.global = true;
  remote.pool_gb_s = 10;  // as much as one engine's device
  const auto home = std::make_shared<TierHome>(remote, kBlock);
  TierStack a{host_link(), kBlock, {remote}, {home}}, b{host_link(), kBlock, {remote}, {home}};
  a.computed(Blocks{1, 2, 3, 4}, 0, 0, 0);
  EXPECT_EQ(b.find(Blocks{1, 2, 3, 4, 5}), 4u);
  EXPECT_EQ(b.load(Blocks{1, 2, 3, 4}, 0, 100 * kUs).end_ps, 106 * kUs);
  EXPECT_EQ(a.load(Blocks{1, 2, 3, 4}, 0, 100 * kUs).end_ps, 110 * kUs) << "behind b's four in the pool";
}

TEST(TierStack, ABlockThatIsStillBeingWrittenIsReadAfterwards) {
  TierStack stack{host_link(), kBlock, {tier("host", 100)}};
  stack.computed(Blocks{1, 2, 3, 4}, 0, 0, 50 * kUs);  // in HBM at 50 us, in host memory at 54
  EXPECT_EQ(stack.load(Blocks{1, 2}, 0, 10 * kUs).end_ps, 56 * kUs);
}

TEST(TierStack, LengthAwareTiersGiveUpTheEndsOfPrompts) {
  TierSpec spec = tier("host", 4);
  spec.policy = "length-aware";
  TierStack stack{host_link(), kBlock, {spec}};
  stack.computed(Blocks{1, 2, 3, 4}, 0, 0, 0);
  stack.computed(Blocks{11, 12}, 0, 100 * kUs, 100 * kUs);
  EXPECT_TRUE(stack.store(0).contains(1) && stack.store(0).contains(2));
  EXPECT_FALSE(stack.store(0).contains(4));
}

}  // namespace
}  // namespace tessera
