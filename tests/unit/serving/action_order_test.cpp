// Which engine acts next, against a look at all of them.
#include "sim/serving/action_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace tessera {
namespace {

TEST(ActionOrder, AgreesWithALookAtAllEnginesAndTheFirstNamedWinsATie) {
  for (std::size_t engines = 1; engines < 20; ++engines) {
    std::mt19937 random(static_cast<std::uint32_t>(engines));
    ActionOrder order(engines);
    std::vector<std::int64_t> times(engines, ActionOrder::kNever);
    for (int turn = 0; turn < 500; ++turn) {
      const std::size_t engine = random() % engines;
      times[engine] = random() % 5 == 0 ? ActionOrder::kNever : static_cast<std::int64_t>(random() % 6);
      order.set(engine, times[engine]);
      const auto first = std::min_element(times.begin(), times.end());  // the first of equals
      ASSERT_EQ(order.first(), static_cast<std::size_t>(first - times.begin()));
      ASSERT_EQ(order.first_ps(), *first);
      std::int64_t second = ActionOrder::kNever;
      for (auto at = times.begin(); at != times.end(); ++at)
        if (at != first) second = std::min(second, *at);
      ASSERT_EQ(order.second_ps(), second);
    }
  }
}

TEST(ActionOrder, EnginesThatNeverActAreNotWaitedFor) {
  ActionOrder order(3);
  EXPECT_EQ(order.first_ps(), ActionOrder::kNever);
  order.set(2, 7);
  EXPECT_EQ(order.first(), 2u);
  EXPECT_EQ(order.second_ps(), ActionOrder::kNever);
}

}  // namespace
}  // namespace tessera
