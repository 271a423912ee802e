#include "sim/memory/block_pool.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

#include "sim/memory/block_hash.hpp"

namespace tessera {
namespace {

using Ids = std::vector<BlockId>;

Ids take(BlockPool& pool, std::size_t n) {
  Ids blocks(n);
  pool.allocate_n(blocks);
  return blocks;
}
Ids free_order(const BlockPool& pool) {
  Ids order;
  pool.for_each_free([&](BlockId block) { order.push_back(block); });
  return order;
}

TEST(BlockPool, HandsOutEveryBlockOnce) {
  BlockPool pool(5);
  EXPECT_EQ(take(pool, 3), (Ids{0, 1, 2}));
  EXPECT_EQ(pool.allocate(), 3u);
  EXPECT_EQ(pool.free_blocks(), 1u);
  EXPECT_EQ(pool.live_blocks(), 4u);
  EXPECT_EQ(pool.allocate(), 4u);
  EXPECT_EQ(pool.free_blocks(), 0u);
  pool.audit();
}

TEST(BlockPool, AFinishedRequestGivesItsTailToBeReusedFirst) {
  BlockPool pool(6);
  const Ids first = take(pool, 3);
  pool.free_tail_first(first);
  EXPECT_EQ(free_order(pool), (Ids{3, 4, 5, 2, 1, 0}));
}

TEST(BlockPool, AFreedBlockIsFoundUntilItIsReused) {
  BlockPool pool(3);
  const Ids blocks = take(pool, 2);
  pool.publish(blocks[0], 100);
  pool.publish(blocks[1], 101);
  pool.free_tail_first(blocks);  // queue: 2, 1, 0
  EXPECT_EQ(pool.lookup(100), 0u);
  EXPECT_EQ(pool.lookup(101), 1u);
  EXPECT_EQ(pool.allocate(), 2u);
  EXPECT_EQ(pool.evictions(), 0);  // it held nothing
  EXPECT_EQ(pool.allocate(), 1u);
  EXPECT_EQ(pool.evictions(), 1);
  EXPECT_EQ(pool.lookup(101), kNoBlock);
  EXPECT_EQ(pool.lookup(100), 0u);
}

TEST(BlockPool, AHitTakesAFreeBlockOutOfTheMiddleOfTheQueue) {
  BlockPool pool(4);
  const Ids blocks = take(pool, 4);
  pool.publish(blocks[1], 55);
  pool.free_tail_first(blocks);  // queue: 3 2 1 0
  pool.touch(pool.lookup(55));
  EXPECT_EQ(free_order(pool), (Ids{3, 2, 0}));
  EXPECT_EQ(pool.references(1), 1u);
  EXPECT_EQ(pool.free_blocks(), 3u);
  pool.free(1);
  EXPECT_EQ(free_order(pool), (Ids{3, 2, 0, 1}));  // released last, so reused last
  pool.audit();
}

TEST(BlockPool, ASharedBlockStaysLiveUntilItsLastUserLeaves) {
  BlockPool pool(2);
  const BlockId block = pool.allocate();
  pool.touch(block);
  pool.touch(block);
  EXPECT_EQ(pool.references(block), 3u);
  pool.free(block);
  pool.free(block);
  EXPECT_EQ(pool.free_blocks(), 1u);
  pool.free(block);
  EXPECT_EQ(pool.free_blocks(), 2u);
}

TEST(BlockPool, OfEqualBlocksTheFirstPublishedAnswersAndItsTwinAfterIt) {
  BlockPool pool(3);
  const Ids blocks = take(pool, 3);
  for (const BlockId block : blocks) pool.publish(block, 9);
  EXPECT_EQ(pool.lookup(9), 0u);
  pool.free(1);
  EXPECT_EQ(pool.allocate(), 1u);  // the middle twin is evicted
  EXPECT_EQ(pool.lookup(9), 0u);
  pool.free(0);
  EXPECT_EQ(pool.allocate(), 0u);
  EXPECT_EQ(pool.lookup(9), 2u);
  pool.free(2);
  EXPECT_EQ(pool.allocate(), 2u);
  EXPECT_EQ(pool.lookup(9), kNoBlock);
  EXPECT_EQ(pool.evictions(), 3);
}

TEST(BlockPool, TheGenerationTellsWhetherABlockWasHandedOutAgain) {
  BlockPool pool(2);
  const BlockId block = pool.allocate();
  const std::uint32_t generation = pool.generation(block);
  pool.free(block);
  EXPECT_EQ(pool.generation(block), generation);  // still what it was
  pool.touch(block);
  EXPECT_EQ(pool.generation(block), generation);
  pool.free(block);
  take(pool, 2);
  EXPECT_NE(pool.generation(block), generation);
}

TEST(BlockPool, WithoutPrefixCachingNothingIsEverFound) {
  BlockPool pool(2, {.prefix_caching = false});
  const BlockId block = pool.allocate();
  pool.publish(block, 5);
  EXPECT_EQ(pool.lookup(5), kNoBlock);
  EXPECT_EQ(pool.hash_of(block), kNoHash);
  pool.free(block);
  take(pool, 2);
  EXPECT_EQ(pool.evictions(), 0);
}

// A preempted request that comes back looks for its blocks by generation, with or without hashes.
TEST(BlockPool, WithoutPrefixCachingAFreeBlockCanStillBeTakenBack) {
  BlockPool pool(3, {.prefix_caching = false});
  const Ids blocks = take(pool, 2);
  EXPECT_EQ(pool.references(0), 1u);
  pool.free_tail_first(blocks);
  EXPECT_EQ(pool.references(0), 0u);
  const std::uint32_t generation = pool.generation(0);
  pool.touch(0);
  EXPECT_EQ(pool.references(0), 1u);
  EXPECT_EQ(pool.generation(0), generation);
  EXPECT_EQ(free_order(pool), (Ids{2, 1}));
  pool.audit();
}

TEST(BlockPool, RefusesToExistWithoutAUsableBlock) {
  EXPECT_THROW(BlockPool(0), std::invalid_argument);
  EXPECT_NO_THROW(BlockPool(1));
}

using BlockPoolDeathTest = testing::Test;

TEST(BlockPoolDeathTest, StopsOnMisuse) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  BlockPool pool(2);
  EXPECT_DEATH(pool.free(0), "freed more often");
  take(pool, 2);
  EXPECT_DEATH(pool.allocate(), "none is free");
  Ids more(1);
  EXPECT_DEATH(pool.allocate_n(more), "none is free");
  EXPECT_DEATH(pool.publish(0, kNoHash), "real hash");
  pool.publish(0, 3);
  EXPECT_DEATH(pool.publish(0, 4), "published once");
  pool.free(1);
  EXPECT_DEATH(pool.publish(1, 8), "only a live block");
}

TEST(HashIndex, FindsEveryHashThroughCollisionsAndRemovals) {
  constexpr std::uint32_t kBlocks = 1000;
  HashIndex index(kBlocks);
  // Small consecutive numbers: the worst a caller may hand over as hashes.
  for (BlockId block = 0; block < kBlocks; ++block) index.insert(block, block + 1);
  for (BlockId block = 0; block < kBlocks; block += 3) index.erase(block);
  for (BlockId block = 0; block < kBlocks; ++block) {
    ASSERT_EQ(index.find(block + 1), block % 3 == 0 ? kNoBlock : block);
    ASSERT_EQ(index.hash_of(block), block % 3 == 0 ? kNoHash : block + 1);
  }
  EXPECT_EQ(index.find(kBlocks + 1), kNoBlock);
}

TEST(BlockHash, TheChainSeparatesContentPositionAndHistory) {
  const BlockHash a = chain_hash(kChainRoot, 1);
  EXPECT_EQ(chain_hash(kChainRoot, 1), a);
  EXPECT_NE(chain_hash(kChainRoot, 2), a);
  EXPECT_NE(chain_hash(a, 1), a);  // the same content one block later
  EXPECT_NE(chain_hash(chain_hash(kChainRoot, 1), 2), chain_hash(chain_hash(kChainRoot, 2), 1));
}

TEST(BlockHash, NoTwoIdentitiesMeet) {
  std::set<BlockHash> seen;
  std::size_t made = 0;
  for (std::uint32_t request = 0; request < 300; ++request) {
    BlockHash chain = kChainRoot;
    for (std::uint32_t index = 0; index < 100; ++index) {
      seen.insert(unique_hash(request, index));
      chain = chain_hash(chain, request == 0 ? 0 : request * 1000 + index);
      seen.insert(chain);
      made += 2;
    }
  }
  EXPECT_EQ(seen.size(), made);
  EXPECT_EQ(seen.count(kNoHash), 0u);
}

// Flipping one bit of the id flips about half of the bits of the hash.
TEST(BlockHash, MixesEveryBit) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    double flipped = 0;
    for (std::uint64_t id = 0; id < 64; ++id) {
      const std::uint64_t other = id ^ (std::uint64_t{1} << bit);
      flipped += std::popcount(chain_hash(kChainRoot, id) ^ chain_hash(kChainRoot, other));
    }
    ASSERT_NEAR(flipped / 64, 32, 3) << "bit " << bit;  // 6 standard errors of 64 binomial(64, 1/2)
  }
}

}  // namespace
}  // namespace tessera
