// What a store does with blocks that are under way, and with ids that are used again.
#include "sim/memory/tiers/tier_store.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "sim/memory/replacement/s3_fifo.hpp"

namespace tessera {
namespace {

// Says whose room was taken; kNoHash: nobody's, or none was found.
BlockHash insert(TierStore& store, BlockHash hash, std::int64_t ready, std::int64_t now) {
  BlockHash gone = kNoHash;
  store.insert(hash, static_cast<std::uint32_t>(hash % 8), ready, now, [&](BlockHash g) { gone = g; });
  return gone;
}

TEST(TierStore, ATierFullOfBlocksUnderWayRefusesAtOnceHoweverLarge) {
  constexpr std::uint32_t kBlocks = 1U << 17U;
  TierStore store("lru", kBlocks);
  for (BlockHash h = 1; h <= kBlocks; ++h)
    store.insert(h, 0, 1000 + static_cast<std::int64_t>(h), 0, [](BlockHash) {});
  // One look each at a hundred thousand blocks would take minutes.
  constexpr std::int64_t kRefused = 200'000;
  for (std::int64_t i = 0; i < kRefused; ++i)
    ASSERT_FALSE(
        store.insert(1'000'000 + static_cast<BlockHash>(i), 0, 2'000'000, i / 200, [](BlockHash) {}));
  EXPECT_EQ(store.count().refused, kRefused);
  // Blocks come one by one, and each makes room for one.
  for (std::int64_t i = 1; i <= 200; ++i) {
    const BlockHash next = 2'000'000 + static_cast<BlockHash>(i);
    ASSERT_EQ(insert(store, next, 2'000'000, 1000 + i), static_cast<BlockHash>(i));
    ASSERT_FALSE(store.insert(next + 5'000'000, 0, 2'000'000, 1000 + i, [](BlockHash) {}));
  }
  store.audit();
}

// Two stores play the same; one is asked for room in between while it has none.
TEST(TierStore, ARefusalChangesNothingAboutWhoGoesNext) {
  for (const std::string& policy : tier_policy_names()) {
    std::mt19937 random(7);
    TierStore asked(policy, 16), left_alone(policy, 16);
    BlockHash next = 1;
    std::int64_t now = 0, refused = 0;
    for (int turn = 0; turn < 300; ++turn) {
      while (asked.resident() < 16) {
        insert(asked, next, now + 10, now), insert(left_alone, next, now + 10, now);
        ++next;
      }
      for (int touch = 0; touch < 8; ++touch) {
        const BlockHash hash = next - 1 - random() % 16;
        if (!asked.contains(hash)) continue;
        for (TierStore* store : {&asked, &left_alone})
          store->touch(hash, static_cast<std::uint32_t>(hash % 8)), store->pin(hash, now + 10);
      }
      for (BlockHash h = 1; h < next; ++h)
        if (asked.contains(h)) asked.pin(h, now + 10), left_alone.pin(h, now + 10);
      for (int i = 0; i < 5; ++i) {
        ASSERT_FALSE(asked.insert(1'000'000'000 + next, 0, now + 20, now + 9, [](BlockHash) {}));
        ++refused;
      }
      now += 10;
      for (int i = 0; i < 5; ++i, ++next)
        ASSERT_EQ(insert(asked, next, now, now), insert(left_alone, next, now, now)) << policy;
    }
    EXPECT_EQ(asked.count().refused, refused);
    EXPECT_EQ(left_alone.count().refused, 0);
  }
}

TEST(TierStore, ABlockThatIsErasedMakesRoomWhileAllOthersAreUnderWay) {
  TierStore store("lru", 2);
  insert(store, 1, 100, 0), insert(store, 2, 100, 0);
  EXPECT_FALSE(store.insert(3, 0, 100, 50, [](BlockHash) {}));
  store.erase(1);
  EXPECT_TRUE(store.insert(3, 0, 60, 50, [](BlockHash) {}));
  EXPECT_EQ(insert(store, 4, 100, 61), 3u) << "it came before the two that are still under way";
  EXPECT_FALSE(store.insert(5, 0, 100, 61, [](BlockHash) {}));
  store.audit();
}

// No block comes twice, so none is known again: the rule plays with an id for every block, the store with a
// few that many blocks use in turn.
TEST(TierStore, AnIdThatIsUsedAgainDoesNotBringTheMemoryOfAnotherBlock) {
  constexpr std::uint32_t kBlocks = 20, kAll = 20'000;
  TierStore store("s3-fifo", kBlocks);
  CacheSetup setup;
  setup.capacity = kBlocks, setup.distinct = kAll;
  S3Fifo rule(setup);
  std::mt19937 random(3);
  std::vector<std::uint32_t> resident;
  for (std::uint32_t id = 1; id < kAll; ++id) {
    if (resident.size() == kBlocks) {
      const std::uint32_t victim = rule.evict();
      ASSERT_EQ(insert(store, id, 0, 0), victim);
      resident.erase(std::find(resident.begin(), resident.end(), victim));
    } else {
      insert(store, id, 0, 0);
    }
    rule.access(id);
    resident.push_back(id);
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t hit = resident[random() % resident.size()];
      rule.access(hit), store.touch(hit, 0);
    }
    // A block that is loaded out of an exclusive tier leaves it.
    for (auto i = random() % 3; i > 0 && resident.size() > kBlocks - 2; --i) {
      const std::size_t at = random() % resident.size();
      rule.erase(resident[at]), store.erase(resident[at]);
      resident.erase(resident.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  EXPECT_GT(store.count().evicted, 1000);
  EXPECT_GT(store.count().erased, 1000);
  store.audit();
}

}  // namespace
}  // namespace tessera
