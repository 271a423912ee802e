#include "sim/memory/buddy.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace tessera {
namespace {

TEST(BuddyMemory, RoundsARegionUpToAPowerOfTwo) {
  BuddyMemory memory(16);
  const auto region = memory.take(5);
  ASSERT_TRUE(region);
  EXPECT_EQ(region->size, 8);
  EXPECT_EQ(memory.held(), 8);
  EXPECT_EQ(BuddyMemory::rounded(8), 8);
  EXPECT_EQ(BuddyMemory::rounded(9), 16);
}

TEST(BuddyMemory, SplitsTheLowestRegionThatIsLargeEnough) {
  BuddyMemory memory(16);
  EXPECT_EQ(memory.take(2)->offset, 0);
  EXPECT_EQ(memory.take(4)->offset, 4);
  EXPECT_EQ(memory.take(2)->offset, 2);
  EXPECT_EQ(memory.take(8)->offset, 8);
  EXPECT_FALSE(memory.take(1));
}

TEST(BuddyMemory, HalvesThatAreBothFreeAreWholeAgain) {
  BuddyMemory memory(16);
  const auto a = memory.take(4), b = memory.take(4);
  memory.take(8);
  memory.give_back(*a);
  EXPECT_FALSE(memory.take(8));
  memory.give_back(*b);
  EXPECT_EQ(memory.take(8)->offset, 0);
}

// 15,728 token slots are 8192 + 4096 + 2048 + 1024 + 256 + 64 + 32 + 16: seven regions of 2,048 and a rest
// that no such request fits into.
TEST(BuddyMemory, ACapacityThatIsNoPowerOfTwoIsARowOfArenas) {
  BuddyMemory memory(15728);
  EXPECT_EQ(memory.largest(), 8192);
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(memory.take(2048)) << i;
  EXPECT_FALSE(memory.take(2048));
  EXPECT_EQ(memory.capacity() - memory.held(), 15728 - 7 * 2048);
  EXPECT_TRUE(memory.take(1024));
}

// Against a plain map of what is taken: regions are aligned, inside, never overlap, refused only when no
// aligned stretch of that size is free, and an empty memory is as it was.
TEST(BuddyMemory, NeverOverlapsAndRefusesOnlyWhatCannotBe) {
  for (std::uint32_t seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    const auto capacity = static_cast<std::int64_t>(1 + random() % 200);
    BuddyMemory memory(capacity);
    std::map<std::int64_t, BuddyMemory::Region> taken;
    std::vector<bool> used(static_cast<std::size_t>(capacity));
    const auto mark = [&](BuddyMemory::Region r, bool value) {
      for (std::int64_t i = r.offset; i < r.offset + r.size; ++i) {
        ASSERT_NE(used[static_cast<std::size_t>(i)], value);
        used[static_cast<std::size_t>(i)] = value;
      }
    };
    for (int turn = 0; turn < 500; ++turn) {
      if (random() % 2 == 0 || taken.empty()) {
        const auto size = static_cast<std::int64_t>(1 + random() % 40);
        const std::int64_t rounded = BuddyMemory::rounded(size);
        bool possible = false;
        for (std::int64_t at = 0; at + rounded <= capacity && !possible; at += rounded) {
          possible = true;
          for (std::int64_t i = at; i < at + rounded; ++i) possible &= !used[static_cast<std::size_t>(i)];
        }
        const auto region = memory.take(size);
        ASSERT_EQ(region.has_value(), possible) << "size " << size << " of " << capacity;
        if (!region) continue;
        ASSERT_EQ(region->offset % region->size, 0);
        ASSERT_LE(region->offset + region->size, capacity);
        mark(*region, true);
        taken[region->offset] = *region;
      } else {
        const auto at = std::next(taken.begin(), static_cast<std::ptrdiff_t>(random() % taken.size()));
        mark(at->second, false);
        memory.give_back(at->second);
        taken.erase(at);
      }
      std::int64_t held = 0;
      for (const auto& [offset, region] : taken) held += region.size;
      ASSERT_EQ(memory.held(), held);
    }
    for (const auto& [offset, region] : taken) memory.give_back(region);
    EXPECT_EQ(memory.held(), 0);
    EXPECT_TRUE(memory.take(memory.largest())) << "all halves are whole again";
  }
}

using BuddyMemoryDeathTest = testing::Test;

TEST(BuddyMemoryDeathTest, ARegionIsGivenBackOnce) {
  BuddyMemory memory(16);
  const auto a = memory.take(4);
  memory.take(4);
  memory.give_back(*a);
  EXPECT_DEATH(memory.give_back(*a), "more often");
}

}  // namespace
}  // namespace tessera
