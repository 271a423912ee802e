#include "sim/memory/free_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <random>
#include <vector>

namespace tessera {
namespace {

using Ids = std::vector<BlockId>;

Ids order_of(const FreeQueue& queue) {
  Ids order;
  queue.for_each([&](BlockId block) { order.push_back(block); });
  return order;
}
Ids pop(FreeQueue& queue, std::size_t count) {
  Ids out(count);
  queue.pop_n(out);
  return out;
}

TEST(FreeQueue, HandsOutItsBlocksInTheOrderTheyJoined) {
  FreeQueue queue(4);
  EXPECT_EQ(queue.size(), 4u);
  EXPECT_EQ(pop(queue, 3), (Ids{0, 1, 2}));
  queue.push(1);
  queue.push(0);
  EXPECT_EQ(order_of(queue), (Ids{3, 1, 0}));
}

TEST(FreeQueue, OfBlocksGivenBackTogetherTheLastJoinsFirst) {
  FreeQueue queue(5);
  pop(queue, 5);
  queue.push_tail_first(Ids{4, 2, 0});
  EXPECT_EQ(pop(queue, 3), (Ids{0, 2, 4}));
}

TEST(FreeQueue, ABlockTakenOutOfTheMiddleIsSkipped) {
  FreeQueue queue(4);
  queue.remove(1);
  EXPECT_FALSE(queue.contains(1));
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_EQ(pop(queue, 3), (Ids{0, 2, 3}));
  queue.push(1);
  EXPECT_EQ(queue.pop(), 1u);
}

// Against a list, over enough turns that the ring wraps and its holes have to be squeezed out.
TEST(FreeQueue, BehavesAsAListFromWhichAnythingCanBeTaken) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    const auto blocks = static_cast<std::uint32_t>(1 + random() % 9);
    FreeQueue queue(blocks);
    std::list<BlockId> model;
    Ids out;  // blocks in use
    for (BlockId id = 0; id < blocks; ++id) model.push_back(id);
    for (int turn = 0; turn < 2000; ++turn) {
      const auto what = random() % 4;
      if (what == 0 && !model.empty()) {
        const std::size_t count = 1 + random() % model.size();
        for (const BlockId block : pop(queue, count)) {
          ASSERT_EQ(block, model.front());
          model.pop_front();
          out.push_back(block);
        }
      } else if (what == 1 && !model.empty()) {
        const BlockId block = *std::next(model.begin(), static_cast<std::ptrdiff_t>(random() % model.size()));
        queue.remove(block);
        model.remove(block);
        out.push_back(block);
      } else if (!out.empty()) {
        std::shuffle(out.begin(), out.end(), random);
        const std::size_t count = 1 + random() % out.size();
        const Ids back(out.end() - static_cast<std::ptrdiff_t>(count), out.end());
        out.resize(out.size() - count);
        queue.push_tail_first(back);
        for (std::size_t i = count; i-- > 0;) model.push_back(back[i]);
      }
      ASSERT_EQ(order_of(queue), Ids(model.begin(), model.end()));
      ASSERT_EQ(queue.size(), model.size());
      for (BlockId id = 0; id < blocks; ++id)
        ASSERT_EQ(queue.contains(id), std::find(model.begin(), model.end(), id) != model.end());
    }
  }
}

using FreeQueueDeathTest = testing::Test;

TEST(FreeQueueDeathTest, RefusesWhatNoQueueCanDo) {
  FreeQueue queue(2);
  EXPECT_DEATH(queue.push(0), "freed more often");
  EXPECT_DEATH(pop(queue, 3), "none is free");
  pop(queue, 1);
  EXPECT_DEATH(queue.remove(0), "only a free block");
}

}  // namespace
}  // namespace tessera
