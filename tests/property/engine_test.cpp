// The event queue against the definition of its order: a stable sort by time of what is pending.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

#include "sim/engine/queue.hpp"

namespace tessera::sim {
namespace {

// What the queue must do, done slowly: keep pushes in order, take the first of the earliest.
class SlowQueue {
 public:
  void push(const Event& event) { pending_.push_back(event); }
  Event pop() {
    const auto first = std::min_element(pending_.begin(), pending_.end(),
                                        [](const Event& a, const Event& b) { return a.time < b.time; });
    const Event event = *first;
    pending_.erase(first);
    return event;
  }
  [[nodiscard]] bool empty() const { return pending_.empty(); }
  [[nodiscard]] std::size_t size() const { return pending_.size(); }

 private:
  std::vector<Event> pending_;
};

// Delays of every kind the wheel treats differently: none, within the slot, near slots, the window's
// edge, far, and very far.
rc::Gen<Ticks> any_delay() {
  constexpr Ticks kWindow = Ticks{TimingWheel::kSlots} << TimingWheel::kDefaultSlotBits;
  return rc::gen::weightedOneOf<Ticks>({
      {3, rc::gen::just(Ticks{0})},
      {3, rc::gen::inRange<Ticks>(0, 1024)},
      {5, rc::gen::inRange<Ticks>(0, 200'000)},
      {2, rc::gen::inRange<Ticks>(kWindow - 3000, kWindow + 3000)},
      {2, rc::gen::inRange<Ticks>(0, 10 * kWindow)},
      {1, rc::gen::inRange<Ticks>(0, Ticks{1} << 50)},
      {3, rc::gen::elementOf(std::vector<Ticks>{570, 1140, 18'000, 80'000, kWindow, 2 * kWindow})},
  });
}

struct Step {
  int kind;  // 0..5 push, 6..8 pop, 9 look
  Ticks delay;
};

void compare(const std::vector<Step>& steps) {
  EventQueue queue;
  SlowQueue slow;
  std::uint32_t pushes = 0;
  for (const Step& step : steps) {
    if (step.kind < 6) {
      const Event event{queue.now() + step.delay, pushes % 7, pushes};
      ++pushes;
      queue.push(event);
      slow.push(event);
    } else if (step.kind == 9 && !slow.empty()) {
      SlowQueue copy = slow;
      RC_ASSERT(queue.next_time() == copy.pop().time);
    } else if (!slow.empty()) {
      RC_ASSERT(queue.pop() == slow.pop());
    }
    RC_ASSERT(queue.size() == slow.size());
  }
  while (!slow.empty()) RC_ASSERT(queue.pop() == slow.pop());
  RC_ASSERT(queue.empty());
}

RC_GTEST_PROP(EventQueueProperty, PopsInStableOrderWhilePushesGoOn, ()) {
  const auto length = *rc::gen::inRange(0, 600);
  const auto steps = *rc::gen::container<std::vector<Step>>(
      static_cast<std::size_t>(length), rc::gen::construct<Step>(rc::gen::inRange(0, 10), any_delay()));
  compare(steps);
}

// Everything pushed first: the whole order at once against std::stable_sort.
RC_GTEST_PROP(EventQueueProperty, DrainsAsAStableSort, ()) {
  const auto times = *rc::gen::container<std::vector<Ticks>>(any_delay());
  EventQueue queue;
  std::vector<Event> expected;
  for (const Ticks time : times) {
    expected.push_back({time, 0, static_cast<std::uint32_t>(expected.size())});
    queue.push(expected.back());
  }
  std::stable_sort(expected.begin(), expected.end(),
                   [](const Event& a, const Event& b) { return a.time < b.time; });
  for (const Event& event : expected) RC_ASSERT(queue.pop() == event);
}

}  // namespace
}  // namespace tessera::sim
