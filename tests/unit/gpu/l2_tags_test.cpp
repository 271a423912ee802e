// The L2 at page granularity: hashed 16-way sets under LRU, kept as fractions.
#include "sim/gpu/l2_tags.hpp"

#include <gtest/gtest.h>

#include <random>

#include "sim/gpu/launch.hpp"

namespace tessera {
namespace {

constexpr double kMiB = 1048576;

TEST(L2Survival, AllOfALittleNothingOfTwiceTheCapacity) {
  EXPECT_DOUBLE_EQ(l2_survival(0), 1);
  EXPECT_GT(l2_survival(0.5), 0.98);
  EXPECT_NEAR(l2_survival(1), 0.5, 0.07);
  EXPECT_LT(l2_survival(2), 0.001);
  EXPECT_EQ(l2_survival(50), 0);
}

TEST(L2Survival, FallsSteadily) {
  for (double x = 0; x < 3.5; x += 0.01) EXPECT_GE(l2_survival(x) + 1e-12, l2_survival(x + 0.01));
}

// The slow, obvious cache: 4,096 sets of 16 ways, LRU, lines placed by a random hash.
TEST(L2Survival, AgreesWithAnExplicitSetAssociativeCacheUnderCyclicReplay) {
  constexpr int kSets = 4096, kWays = 16;
  for (const double share : {0.6, 0.8, 1.0, 1.2, 1.5}) {
    const auto lines = static_cast<int>(share * kSets * kWays);
    std::mt19937 random(7);
    std::vector<int> set_of(static_cast<std::size_t>(lines));
    for (int& set : set_of) set = static_cast<int>(random() % kSets);
    std::vector<std::vector<int>> sets(kSets);  // most recent first
    int hits = 0;
    for (int pass = 0; pass < 3; ++pass)
      for (int line = 0; line < lines; ++line) {
        std::vector<int>& set = sets[static_cast<std::size_t>(set_of[static_cast<std::size_t>(line)])];
        const auto at = std::find(set.begin(), set.end(), line);
        if (pass == 2 && at != set.end()) ++hits;
        if (at != set.end()) set.erase(at);
        set.insert(set.begin(), line);
        if (set.size() > kWays) set.pop_back();
      }
    // A line finds itself if fewer than 16 of the others share its set.
    EXPECT_NEAR(static_cast<double>(hits) / lines, l2_survival(share), 0.01) << share;
  }
}

TEST(L2Tags, AFirstTouchMissesAndASecondHits) {
  L2Tags tags({40 * kMiB, false});
  EXPECT_EQ(tags.touch(1, Tensor::k, kMiB).hit, 0);
  EXPECT_EQ(tags.touch(1, Tensor::k, kMiB).hit, 1);
}

TEST(L2Tags, WhatPassesInBetweenPushesAPageOut) {
  for (const double passed : {0.0, 0.5, 1.0, 3.0}) {
    L2Tags tags({40 * kMiB, false});
    tags.touch(1, Tensor::k, kMiB);
    tags.advance(passed * 40 * kMiB);
    EXPECT_DOUBLE_EQ(tags.touch(1, Tensor::k, kMiB).hit, l2_survival(passed));
  }
}

TEST(L2Tags, RowsOfAPageNobodyTouchedAreAFirstTouch) {
  L2Tags tags({40 * kMiB, false});
  tags.touch(1, Tensor::k, kMiB, 0, 512);
  EXPECT_DOUBLE_EQ(tags.touch(1, Tensor::k, kMiB, 256, 768).hit, 0.5);
  EXPECT_DOUBLE_EQ(tags.touch(1, Tensor::k, kMiB, 0, 768).hit, 1);
}

TEST(L2Tags, TwoPartitionsKeepASharedPageTwice) {
  L2Tags one({40 * kMiB, false}), two({40 * kMiB, true});
  for (L2Tags* tags : {&one, &two}) tags->touch(1, Tensor::k, kMiB);
  EXPECT_EQ(one.touch(1, Tensor::k, kMiB).passed, 0);
  EXPECT_EQ(two.touch(1, Tensor::k, kMiB).passed, kMiB) << "the copy on the other side";
  EXPECT_EQ(two.touch(1, Tensor::k, kMiB).passed, 0) << "only once";
}

TEST(L2Tags, WithoutCapacityNothingHits) {
  L2Tags off({0, true});
  off.touch(1, Tensor::k, kMiB);
  EXPECT_EQ(off.touch(1, Tensor::k, kMiB).hit, 0);
}

TEST(L2Tags, AReplayFindsWhatFits) {
  L2Tags tags({40 * kMiB, false});
  EXPECT_GT(tags.replay_hit(20 * kMiB), 0.98);
  EXPECT_LT(tags.replay_hit(80 * kMiB), 0.001);
}

TEST(L2Tags, ManyPagesStayApart) {
  L2Tags tags({1e12, false});
  for (std::int64_t i = 0; i < 20000; ++i)
    ASSERT_EQ(tags.touch(detail::page_key(Tensor::k, i % 100, i / 100, 0), Tensor::k, 1).hit, 0) << i;
  for (std::int64_t i = 0; i < 20000; ++i)
    ASSERT_EQ(tags.touch(detail::page_key(Tensor::k, i % 100, i / 100, 0), Tensor::k, 1).hit, 1) << i;
}

// What touches find, one after the other.
std::vector<double> hits_of(L2Tags& tags, std::int64_t pages) {
  std::vector<double> hits;
  for (std::int64_t i = 0; i < 3 * pages; ++i) {
    const std::uint64_t key = detail::page_key(Tensor::k, i * i % pages, i % 7, 0);
    tags.advance(static_cast<double>(i) * kMiB / 4);
    hits.push_back(tags.touch(key, Tensor::k, kMiB, 0, static_cast<std::int32_t>(1 + i % 5)).hit);
  }
  return hits;
}

TEST(L2Tags, OpenedAgainIsLikeNew) {
  L2Tags used({40 * kMiB, true});
  used.set_warm(Tensor::k, 0.5);
  hits_of(used, 5000);  // has grown
  for (const std::int64_t pages : {10, 3000}) {
    L2Tags fresh({10 * kMiB, false});
    used.open({10 * kMiB, false});
    EXPECT_EQ(used.passed(), 0);
    EXPECT_EQ(hits_of(used, pages), hits_of(fresh, pages)) << pages;
  }
}

TEST(L2Tags, ForgettingKeepsWhatReplaysLeave) {
  L2Tags tags({40 * kMiB, false});
  tags.set_warm(Tensor::b, 0.25);
  for (int launch = 0; launch < 2; ++launch) {
    EXPECT_EQ(tags.touch(1, Tensor::b, kMiB).hit, 0.25) << launch;
    EXPECT_EQ(tags.touch(1, Tensor::b, kMiB).hit, 1) << launch;
    tags.forget();
  }
}

}  // namespace
}  // namespace tessera
