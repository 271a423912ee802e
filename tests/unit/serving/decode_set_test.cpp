#include "sim/serving/decode_set.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>

namespace tessera {
namespace {

constexpr std::int64_t kWindows[] = {5, 40};

// The slow, obvious version: every request on its own.
struct Oracle {
  struct Request {
    std::int64_t computed, remaining;
    std::uint64_t order;
  };
  std::map<DecodeSet::Slot, Request> live;
  std::uint64_t order = 0;

  std::vector<DecodeSet::Slot> crossing(std::int64_t block) const {
    std::vector<DecodeSet::Slot> slots;
    for (const auto& [slot, r] : live)
      if (r.computed % block == 0) slots.push_back(slot);
    return slots;
  }
  std::int64_t context_sum(std::int64_t window) const {
    std::int64_t sum = 0;
    for (const auto& [slot, r] : live) sum += std::min(r.computed + 1, window);
    return sum;
  }
  std::vector<std::int64_t> contexts() const {
    std::vector<std::int64_t> all;
    for (const auto& [slot, r] : live) all.push_back(r.computed + 1);
    std::sort(all.rbegin(), all.rend());
    return all;
  }
  std::vector<DecodeSet::Slot> step() {
    std::vector<std::pair<std::uint64_t, DecodeSet::Slot>> done;
    for (auto& [slot, r] : live) {
      ++r.computed;
      if (--r.remaining == 0) done.emplace_back(r.order, slot);
    }
    std::sort(done.begin(), done.end());
    std::vector<DecodeSet::Slot> slots;
    for (const auto& [when, slot] : done) {
      slots.push_back(slot);
      live.erase(slot);
    }
    return slots;
  }
};

void expect_equal(DecodeSet& set, const Oracle& oracle, std::int64_t block) {
  RC_ASSERT(set.size() == static_cast<std::int64_t>(oracle.live.size()));
  RC_ASSERT(set.context_sum() == oracle.context_sum(std::int64_t{1} << 40));
  for (std::size_t i = 0; i < 2; ++i) RC_ASSERT(set.window_sum(i) == oracle.context_sum(kWindows[i]));
  std::vector<DecodeSet::Slot> crossing = set.crossing();
  std::sort(crossing.begin(), crossing.end());
  RC_ASSERT(crossing == oracle.crossing(block));
  std::vector<std::int64_t> contexts;
  for (const std::int32_t length : set.lengths()) contexts.push_back(length + set.clock());
  RC_ASSERT(contexts == oracle.contexts());
  std::int64_t soonest = std::int64_t{1} << 62;
  for (const auto& [slot, r] : oracle.live) soonest = std::min(soonest, r.remaining);
  RC_ASSERT(set.steps_to_finish() == soonest);
}

TEST(DecodeSet, AgreesWithOneByOneBookkeepingOverRandomOperations) {
  EXPECT_TRUE(rc::check([] {
    const auto block = *rc::gen::inRange<std::int64_t>(1, 20);
    DecodeSet set(block, kWindows);
    Oracle oracle;
    const auto operations = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 100));
    for (const int operation : operations) {
      if (operation < 35) {
        const auto slot = *rc::gen::inRange<DecodeSet::Slot>(0, 12);
        if (oracle.live.contains(slot)) continue;
        const auto computed = *rc::gen::inRange<std::int64_t>(1, 100);
        const auto remaining = *rc::gen::inRange<std::int64_t>(1, 30);
        set.add(slot, computed, remaining);
        oracle.live[slot] = {computed, remaining, oracle.order++};
      } else if (operation < 45 && !oracle.live.empty()) {
        const auto slot = oracle.live.begin()->first;
        set.remove(slot);
        oracle.live.erase(slot);
      } else {
        std::vector<DecodeSet::Slot> finished;
        set.step(finished);
        RC_ASSERT(finished == oracle.step());
      }
      expect_equal(set, oracle, block);
    }
  }));
}

TEST(DecodeSet, ARequestCrossesIntoANewBlockWhenItsCacheIsAMultipleOfTheBlock) {
  DecodeSet set(16, {});
  set.add(7, 15, 100);  // one slot left in its first block
  EXPECT_TRUE(set.crossing().empty());
  std::vector<DecodeSet::Slot> finished;
  set.step(finished);
  EXPECT_EQ(set.crossing(), std::vector<DecodeSet::Slot>{7});
  EXPECT_EQ(set.computed(7), 16);
}

TEST(DecodeSet, ARequestWithRTokensLeftFinishesInTheRthStep) {
  DecodeSet set(16, {});
  set.add(1, 10, 3);
  std::vector<DecodeSet::Slot> finished;
  for (int step = 1; step <= 2; ++step) {
    set.step(finished);
    EXPECT_TRUE(finished.empty());
  }
  EXPECT_EQ(set.steps_to_finish(), 1);
  set.step(finished);
  EXPECT_EQ(finished, std::vector<DecodeSet::Slot>{1});
  EXPECT_EQ(set.size(), 0);
}

}  // namespace
}  // namespace tessera
