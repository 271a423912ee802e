// Banks come out of an HbmWaiting in the order of their times, whatever order they went in.
#include "sim/memory/hbm/waiting.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

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

// Against a map from each bank to its time.
RC_GTEST_PROP(HbmWaiting, AgreesWithAMap, ()) {
  HbmWaiting waiting;
  std::map<std::uint32_t, HbmTick> times;
  HbmTick now = 0;
  for (int i = 0; i < 300; ++i) {
    const std::uint32_t bank = *rc::gen::inRange<std::uint32_t>(0, kHbmMaxBanks);
    if (*rc::gen::inRange(0, 3) > 0) {
      if (times.contains(bank)) {
        waiting.erase(HbmBankSet{1} << bank);
        times.erase(bank);
      } else {
        times[bank] = now + *rc::gen::inRange(1, 100);
        waiting.put(HbmBankSet{1} << bank, times[bank]);
      }
    } else if (!times.empty()) {
      now = waiting.next();
      const HbmBankSet banks = waiting.take();
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
