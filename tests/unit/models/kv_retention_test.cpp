// What each retention keeps, at the lengths where it changes.
#include "models/transformer/kv_retention.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

RetentionRule rule(Retention kind, std::int64_t window = 0, std::int64_t sinks = 0) {
  RetentionRule r;
  r.kind = kind, r.window = window, r.sinks = sinks;
  return r;
}
RetentionRule cascade(std::int64_t window, std::int64_t cascades, std::int64_t sinks = 0) {
  RetentionRule r = rule(Retention::cascade, window, sinks);
  r.cascades = cascades;
  return r;
}
RetentionRule strided(std::int64_t stride, std::int64_t lag = 0, std::int64_t slots = 0) {
  RetentionRule r = rule(Retention::strided);
  r.stride = stride, r.lag = lag, r.slots = slots;
  return r;
}

TEST(KvRetention, OneSubWindowIsAWindow) {
  for (std::int64_t n = 0; n < 60; ++n)
    EXPECT_EQ(cascade(8, 1, 2).held(n), rule(Retention::window, 8, 2).held(n)) << n;
}

// Three sub-windows of 4: the first full at 4 tokens; every second of what it lets go fills the next at 4 + 2
// x 4 - 1, and every fourth the last at 4 + 8 + 4 x 4 - 3 = 25.
TEST(KvRetention, ACascadeFillsItsSubWindowsOneAfterTheOther) {
  const RetentionRule r = cascade(12, 3);
  EXPECT_EQ(r.held(4), 4);
  EXPECT_EQ(r.held(5), 5);  // the first that is let go is taken
  EXPECT_EQ(r.held(6), 5);  // the second is dropped
  EXPECT_EQ(r.held(10), 7);
  EXPECT_EQ(r.held(11), 8);
  EXPECT_EQ(r.held(24), 11);
  EXPECT_EQ(r.held(25), 12);
  EXPECT_EQ(r.held(1'000'000), 12);
}

// w / k (2^k - 1): four sub-windows of 1024 look back 15 x 1024 tokens.
TEST(KvRetention, ACascadeReachesFurtherThanItHolds) {
  const RetentionRule r = cascade(4096, 4);
  EXPECT_EQ(r.reach(), 15 * 1024);
  EXPECT_EQ(r.held(100'000), 4096);
  EXPECT_EQ(r.held_of_newest(100'000, r.reach()), 4096);
  EXPECT_LT(r.held_of_newest(100'000, r.reach() - 8 * 4), 4096);
}

TEST(KvRetention, AStrideMakesAnEntryWhenItsLastTokenIsThere) {
  EXPECT_EQ(strided(4).held(3), 0);
  EXPECT_EQ(strided(4).held(4), 1);
  EXPECT_EQ(strided(4).held(7), 1);
  EXPECT_EQ(strided(4).held(1'048'576), 262'144);
}

// Compressive Transformer: memory of 100, compressed memory of 10 at rate 5: reach 100 + 5 x 10.
TEST(KvRetention, CompressedMemoryTakesWhatLeftTheWindow) {
  const RetentionRule r = strided(5, 100, 10);
  EXPECT_EQ(r.held(104), 0);
  EXPECT_EQ(r.held(105), 1);
  EXPECT_EQ(r.held(150), 10);
  EXPECT_EQ(r.held(100'000), 10);
  EXPECT_EQ(r.reach(), 150);
}

TEST(KvRetention, OnlyFullAndUncappedStridesGrowForever) {
  EXPECT_FALSE(rule(Retention::full).bounded());
  EXPECT_FALSE(strided(4).bounded());
  EXPECT_TRUE(strided(4, 0, 8).bounded());
  EXPECT_TRUE(rule(Retention::window, 8).bounded());
  EXPECT_TRUE(rule(Retention::chunked, 8).bounded());
  EXPECT_TRUE(cascade(8, 2).bounded());
}

TEST(KvRetention, TheNewestOfAWindowAreItsOwnTokensThenItsSinks) {
  const RetentionRule r = rule(Retention::window, 10, 4);
  EXPECT_EQ(r.held_of_newest(100, 5), 5);
  EXPECT_EQ(r.held_of_newest(100, 50), 10);
  EXPECT_EQ(r.held_of_newest(100, 97), 11);  // tokens 3 .. 99: the last sink too
  EXPECT_EQ(r.held_of_newest(100, 100), 14);
}

// Pages of 16 tokens hold 4 entries at stride 4, and one at stride 128, which is then alone in its page.
TEST(KvRetention, PagesOfAStrideHoldItsEntries) {
  EXPECT_EQ(strided(4).entries_per_page(16), 4);
  EXPECT_EQ(strided(4).pages(64, 16), 4);
  EXPECT_EQ(strided(4).pages(68, 16), 5);
  EXPECT_EQ(strided(128).entries_per_page(16), 1);
  EXPECT_EQ(strided(128).pages(1024, 16), 8);
  EXPECT_EQ(strided(128).entries_per_page(256), 2);
  EXPECT_EQ(strided(128).pages(1024, 256), 4);
}

// A window of W tokens lies in at most ceil((W - 1 + block) / block) pages.
TEST(KvRetention, AWindowNeedsOnePageMoreThanItFills) {
  for (const std::int64_t window : {1, 16, 17, 128, 1024})
    for (const std::int64_t block : {1, 16, 64}) {
      std::int64_t most = 0;
      for (std::int64_t n = 1; n < 3 * window + 200; ++n)
        most = std::max(most, rule(Retention::window, window).pages(n, block));
      EXPECT_EQ(most, (window - 1 + block + block - 1) / block) << window << " in pages of " << block;
    }
}

TEST(KvRetention, EvictingScatteredTokensFreesNoSharedPage) {
  EXPECT_EQ(cascade(32, 4).live_pages(10'000, 16).first_live, 0);
  EXPECT_EQ(cascade(32, 4).pages(10'000, 16), 2);  // a ring of its own
}

}  // namespace
}  // namespace tessera
