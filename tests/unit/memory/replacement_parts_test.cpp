// What replacement policies are built of: lists, rings, the lazy heap, the frequency sketch, the LRU stack.
#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <set>
#include <vector>

#include "sim/engine/random.hpp"
#include "sim/memory/lazy_heap.hpp"
#include "sim/memory/linked_lists.hpp"
#include "sim/memory/lru_stack.hpp"
#include "sim/memory/replacement/frequency_sketch.hpp"
#include "sim/memory/ring.hpp"

namespace tessera {
namespace {

struct Node {
  std::uint32_t newer = 0;
  std::uint32_t older = 0;
};

std::vector<std::uint32_t> from_oldest(const LinkedLists<Node>& lists, std::uint32_t list) {
  std::vector<std::uint32_t> keys;
  for (std::uint32_t id = lists.oldest(list); id != lists.end(list); id = lists[id].newer) keys.push_back(id);
  return keys;
}

using Order = std::vector<std::uint32_t>;

TEST(LinkedLists, KeepKeysInOrderAndApart) {
  LinkedLists<Node> lists(8, 2);
  EXPECT_TRUE(lists.empty(0));
  for (const std::uint32_t id : {3, 1, 4}) lists.push_newest(0, id);
  lists.push_newest(1, 5);
  EXPECT_EQ(from_oldest(lists, 0), (Order{3, 1, 4}));
  lists.make_newest(0, 3);
  EXPECT_EQ(from_oldest(lists, 0), (Order{1, 4, 3}));
  lists.insert_older(3, 7);
  EXPECT_EQ(from_oldest(lists, 0), (Order{1, 4, 7, 3}));
  lists.remove(4);
  EXPECT_EQ(lists.pop_oldest(0), 1u);
  EXPECT_EQ(from_oldest(lists, 0), (Order{7, 3}));
  EXPECT_EQ(from_oldest(lists, 1), Order{5});
}

TEST(Ring, IsAQueueThatGoesRound) {
  Ring ring(3);
  std::list<std::uint32_t> expected;
  for (std::uint32_t i = 0; i < 100; ++i) {
    ring.push(i);
    expected.push_back(i);
    if (expected.size() < 3) continue;
    EXPECT_EQ(ring.pop(), expected.front());
    expected.pop_front();
  }
  EXPECT_EQ(ring.pop(), 98u);
  EXPECT_EQ(ring.pop(), 99u);
}

TEST(LazyHeap, PopsTheLeastOfPrioritiesThatRoseMeanwhile) {
  sim::RandomStream random(4, 0);
  std::map<std::uint32_t, std::pair<std::uint64_t, std::uint32_t>> live;  // priority by id
  LazyHeap heap;
  std::uint32_t fresh = 0;
  for (std::uint32_t step = 1; step < 200'000; ++step) {
    const std::uint64_t what = random() % 4;
    if (what == 0 || live.empty()) {
      live[fresh] = {random() % 50, step};
      heap.push(fresh, {live[fresh].first, step});
      ++fresh;
    } else if (what == 1 && live.size() > 200) {
      const auto least = std::min_element(live.begin(), live.end(),
                                          [](const auto& a, const auto& b) { return a.second < b.second; });
      const std::uint32_t popped = heap.pop(
          [&](std::uint32_t id) {
            return Priority{live.at(id).first, live.at(id).second};
          },
          [&](std::uint32_t id) { ASSERT_TRUE(live.contains(id)); });
      ASSERT_EQ(popped, least->first) << "step " << step;
      live.erase(popped);
    } else {
      auto some = live.lower_bound(static_cast<std::uint32_t>(random() % fresh));
      if (some == live.end()) continue;
      some->second = {some->second.first + random() % 3, step};
    }
    ASSERT_EQ(heap.empty(), live.empty());
  }
}

TEST(LazyHeap, RunsEmptyAndStartsAgain) {
  LazyHeap heap;
  const auto priority = [](std::uint32_t id) { return Priority{id, 0}; };
  const auto ignore = [](std::uint32_t) {};
  for (int round = 0; round < 3; ++round) {
    for (const std::uint32_t id : {2, 9, 1, 5, 7}) heap.push(id, priority(id));
    for (const std::uint32_t id : {1, 2, 5, 7, 9}) EXPECT_EQ(heap.pop(priority, ignore), id);
    EXPECT_TRUE(heap.empty());
  }
}

TEST(LazyHeapDeathTest, RefusesAPriorityThatFell) {
  LazyHeap heap;
  heap.push(1, {5, 0});
  EXPECT_DEATH(heap.pop([](std::uint32_t) { return Priority{4, 0}; }, [](std::uint32_t) {}), "only rise");
}

TEST(FrequencySketch, NeverCountsTooFewBeforeItAges) {
  FrequencySketch sketch(1'000);
  std::map<std::uint32_t, std::uint32_t> counts;
  sim::RandomStream random(8, 0);
  for (int i = 0; i < 9'000; ++i) {  // the first ageing comes with addition 10,000
    const auto id = static_cast<std::uint32_t>(random() % (1 + random() % 3'000));
    sketch.add(id);
    ++counts[id];
  }
  std::size_t exact = 0;
  for (const auto& [id, count] : counts) {
    const std::uint32_t most = std::min(count, FrequencySketch::kMost);
    EXPECT_GE(sketch.estimate(id), most) << id;
    exact += sketch.estimate(id) == most ? 1 : 0;
  }
  EXPECT_GT(exact, counts.size() * 8 / 10);  // sixteen counters a key collide seldom
}

TEST(FrequencySketch, HalvesItsCountersAfterTenAdditionsAKey) {
  FrequencySketch sketch(100);
  for (int i = 0; i < 12; ++i) sketch.add(7);
  EXPECT_EQ(sketch.estimate(7), 12u);
  for (std::uint32_t id = 1'000; id < 1'000 + 987; ++id) sketch.add(id);
  EXPECT_GE(sketch.estimate(7), 12u);
  sketch.add(50'000);  // at the latest the thousandth that raised a counter
  const std::uint32_t aged = sketch.estimate(7);
  EXPECT_GE(aged, 6u);
  EXPECT_LE(aged, 7u);
}

TEST(LruStack, DepthIsThePlaceInAListOfLastUses) {
  LruStack stack(30);
  std::list<std::uint32_t> slow;  // newest in front
  sim::RandomStream random(2, 0);
  for (int i = 0; i < 20'000; ++i) {
    const auto id = static_cast<std::uint32_t>(random() % 30);
    const auto at = std::find(slow.begin(), slow.end(), id);
    ASSERT_EQ(stack.depth(id), at == slow.end() ? 0 : std::distance(slow.begin(), at) + 1) << "use " << i;
    slow.remove(id);
    if (random() % 5 == 0) {
      stack.drop(id);
      continue;
    }
    slow.push_front(id);
    stack.use(id);
  }
}

}  // namespace
}  // namespace tessera
