// Banks come out of an HbmWaiting in the order of their times, whatever order they went in.
#include "sim/memory/hbm/waiting.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "sim/engine/random.hpp"

namespace tessera {
namespace {

TEST(HbmWaiting, NobodyWaitsAtFirst) { EXPECT_EQ(HbmWaiting().next(), kHbmNever); }

TEST(HbmWaiting, TheEarliestGoesFirstAlsoIfItCameLast) {
  HbmWaiting waiting;
  waiting.put(0b001, 20);
  waiting.put(0b010, 40);
  waiting.put(0b100, 10);
  EXPECT_EQ(waiting.next(), 10);
  EXPECT_EQ(waiting.take(), 0b100U);
  EXPECT_EQ(waiting.next(), 20);
  waiting.erase(0b001);
  EXPECT_EQ(waiting.next(), 40);
  EXPECT_EQ(waiting.take(), 0b010U);
  EXPECT_EQ(waiting.next(), kHbmNever);
}

TEST(HbmWaiting, BanksOfOneEntryComeTogetherAndLeaveOneByOne) {
  HbmWaiting waiting;
  waiting.put(0b0111, 8);
  waiting.put(0b1000, 8);
  waiting.erase(0b0010);
  EXPECT_EQ(waiting.take(), 0b0101U);
  EXPECT_EQ(waiting.take(), 0b1000U);
  waiting.put(0b1, 9);
  waiting.clear();
  EXPECT_EQ(waiting.next(), kHbmNever);
}

// Against a map from each bank to its time, for long enough that the queue moves through its memory many
// times.
RC_GTEST_PROP(HbmWaiting, AgreesWithAMap, ()) {
  sim::RandomStream random(*rc::gen::arbitrary<std::uint64_t>(), 0);
  const auto below = [&random](std::uint64_t n) { return random() % n; };
  HbmWaiting waiting;
  std::map<std::uint32_t, HbmTick> times;
  HbmTick now = 0;
  for (int i = 0; i < 3000; ++i) {
    const auto what = below(100);
    if (what == 0) {
      waiting.clear();
      times.clear();
    } else if (what < 50) {  // some banks that do not wait yet
      const HbmTick time = now + 1 + static_cast<HbmTick>(below(100));
      HbmBankSet banks = 0;
      for (std::uint64_t n = 1 + below(3); n > 0; --n) {
        const auto bank = static_cast<std::uint32_t>(below(kHbmMaxBanks));
        if (times.contains(bank)) continue;
        times[bank] = time;
        banks |= HbmBankSet{1} << bank;
      }
      if (banks != 0) waiting.put(banks, time);
    } else if (what < 60 && !times.empty()) {
      const auto any = std::next(times.begin(), static_cast<std::ptrdiff_t>(below(times.size())));
      waiting.erase(HbmBankSet{1} << any->first);
      times.erase(any);
    } else if (!times.empty()) {
      now = waiting.next();
      const HbmBankSet banks = waiting.take();
      RC_ASSERT(banks != 0U);
      for (std::uint32_t b = 0; b < kHbmMaxBanks; ++b)
        if ((banks >> b & 1U) != 0) {
          RC_ASSERT(times.at(b) == now);
          times.erase(b);
        }
    }
    HbmTick first = kHbmNever;
    for (const auto& [b, time] : times) first = std::min(first, time);
    RC_ASSERT(waiting.next() == first);
  }
}

}  // namespace
}  // namespace tessera
