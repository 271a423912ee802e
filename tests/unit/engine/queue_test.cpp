#include "sim/engine/queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace tessera::sim {
namespace {

constexpr Ticks kSlot = Ticks{1} << TimingWheel::kDefaultSlotBits;
constexpr Ticks kWindow = kSlot * TimingWheel::kSlots;

std::vector<std::uint32_t> drain(EventQueue& queue) {
  std::vector<std::uint32_t> payloads;
  while (!queue.empty()) payloads.push_back(queue.pop().payload);
  return payloads;
}
using Payloads = std::vector<std::uint32_t>;

TEST(EventQueue, ReturnsEventsAsTheyWerePushed) {
  EventQueue queue;
  queue.push({42, 7, 9});
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue.pop(), (Event{42, 7, 9}));
  EXPECT_TRUE(queue.empty());
}

TEST(EventQueue, OrdersByTimeWithinOneSlotAcrossSlotsAndBeyondTheWindow) {
  EventQueue queue;
  const std::vector<Ticks> times = {3 * kWindow, 5,       0,     kSlot + 1,  4,
                                    kWindow - 1, kWindow, kSlot, 70 * kSlot, Ticks{1} << 61};
  for (std::uint32_t i = 0; i < times.size(); ++i) queue.push({times[i], 0, i});
  EXPECT_EQ(drain(queue), (Payloads{2, 4, 1, 7, 3, 8, 5, 6, 0, 9}));
}

TEST(EventQueue, EqualTimesComeOutInOrderOfPush) {
  for (const Ticks time : {Ticks{0}, kSlot * 5 + 3, kWindow * 2}) {
    EventQueue queue;
    for (std::uint32_t i = 0; i < 100; ++i) queue.push({time, 0, i});
    const auto order = drain(queue);
    for (std::uint32_t i = 0; i < 100; ++i) ASSERT_EQ(order[i], i) << "at time " << time;
  }
}

// The far event was pushed first, so it must win although its twin went to the wheel directly.
TEST(EventQueue, AFarEventKeepsItsPlaceBeforeALaterPushOfTheSameTime) {
  EventQueue queue;
  const Ticks target = kWindow + 10;
  queue.push({target, 0, 1});
  queue.push({20 * kSlot, 0, 0});
  EXPECT_EQ(queue.pop().payload, 0u);
  queue.push({target, 0, 2});
  EXPECT_EQ(drain(queue), (Payloads{1, 2}));
}

TEST(EventQueue, AnEventPushedForNowComesAfterThoseAlreadyWaitingForNow) {
  EventQueue queue;
  queue.push({10, 0, 0});
  queue.push({10, 0, 1});
  queue.push({11, 0, 3});
  EXPECT_EQ(queue.pop().payload, 0u);
  queue.push({10, 0, 2});
  EXPECT_EQ(drain(queue), (Payloads{1, 2, 3}));
}

TEST(EventQueue, LookingAheadDoesNotMoveTheClock) {
  EventQueue queue;
  queue.push({9 * kSlot, 0, 1});
  EXPECT_EQ(queue.next_time(), 9 * kSlot);
  EXPECT_EQ(queue.now(), 0);
  queue.push({2 * kSlot, 0, 0});  // earlier than what was looked at
  EXPECT_EQ(queue.next_time(), 2 * kSlot);
  EXPECT_EQ(drain(queue), (Payloads{0, 1}));
  EXPECT_EQ(queue.now(), 9 * kSlot);
}

TEST(EventQueue, EverySlotOfTheWheelIsFoundFromEveryStart) {
  for (const Ticks start : {0, 1, 63, 64, 4095, 4096, 16320, 16383}) {
    for (const Ticks distance : {1, 2, 62, 63, 64, 65, 4031, 4032, 4096, 12345, 16320, 16383}) {
      EventQueue queue;
      queue.push({start * kSlot, 0, 0});
      queue.pop();
      queue.push({(start + distance) * kSlot, 0, 1});
      ASSERT_EQ(queue.pop().time, (start + distance) * kSlot) << "from " << start << " by " << distance;
    }
  }
}

// A thousand events over a hundred times, from one time per slot to all of them in one slot.
TEST(EventQueue, SlotWidthChangesNothingButSpeed) {
  std::vector<Event> pushed;
  for (std::uint32_t i = 0; i < 1000; ++i) pushed.push_back({i * 7919 % 1009 / 10, 0, i});
  std::vector<Event> expected = pushed;
  std::stable_sort(expected.begin(), expected.end(),
                   [](const Event& a, const Event& b) { return a.time < b.time; });
  for (const int bits : {0, 3, 10, 20, 40}) {
    TimingWheel queue(bits);
    for (const Event& event : pushed) queue.push(event);
    for (const Event& event : expected) ASSERT_EQ(queue.pop().payload, event.payload) << bits;
  }
}

TEST(EventQueue, RefusesThePastAndAnEmptyPop) {
  EventQueue queue;
  EXPECT_THROW(queue.pop(), std::logic_error);
  EXPECT_THROW(queue.push({-1, 0, 0}), std::logic_error);
  queue.push({100, 0, 0});
  queue.pop();
  EXPECT_THROW(queue.push({99, 0, 0}), std::logic_error);
  EXPECT_TRUE(queue.empty());
  EXPECT_NO_THROW(queue.push({100, 0, 0}));
  EXPECT_THROW(TimingWheel(41), std::invalid_argument);
}

}  // namespace
}  // namespace tessera::sim
