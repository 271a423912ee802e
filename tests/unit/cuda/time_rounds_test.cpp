// The loop that times rounds, on a card that is a script: what a host takes to launch is not the card's time.
#include "kernels/measure/time_rounds.hpp"

#include <gtest/gtest.h>

namespace tessera::measure {
namespace {

// Times in microseconds. Events are stamped when the card reaches them: at once if it is idle.
struct ScriptedCard {
  double launch_us, work_us;
  double host = 0, card = 0;  // what the host's clock says, and when the card is done with what it has
  double begin = 0, end = 0;
  int rounds = 0;

  void spin(double us) { card = std::max(card, host) + us; }
  void record_begin() { begin = std::max(card, host); }
  void enqueue_round() {
    ++rounds;
    host += launch_us;
    card = std::max(card, host) + work_us;
  }
  [[nodiscard]] bool begun() const { return begin <= host; }
  void record_end() { end = card; }
  double wait_ms() {
    host = std::max(host, end);
    return (end - begin) / 1e3;
  }
};

TEST(TimeRounds, TheHostsLaunchIsNotTimed) {
  ScriptedCard card{.launch_us = 8, .work_us = 4};
  const std::vector<double> times = time_rounds(card, {.warmup = 1, .repeats = 3, .ops = 2});
  ASSERT_EQ(times.size(), 3u);
  for (const double ms : times) EXPECT_NEAR(ms, 0.002, 1e-9);
  EXPECT_EQ(card.rounds, 4);
}

// A graph of thousands of nodes takes longer than the first wait; rounds that came late are taken again.
TEST(TimeRounds, TheWaitGrowsWithTheLaunch) {
  ScriptedCard card{.launch_us = 900, .work_us = 4};
  for (const double ms : time_rounds(card, {.warmup = 0, .repeats = 3})) EXPECT_NEAR(ms, 0.004, 1e-9);
  EXPECT_EQ(card.rounds, 3 + 5);  // 50 us, doubled five times
}

TEST(TimeRounds, ALaunchBeyondAllWaitsIsTakenAsItIs) {
  ScriptedCard card{.launch_us = 1e6, .work_us = 4};
  const std::vector<double> times = time_rounds(card, {.warmup = 0, .repeats = 2});
  ASSERT_EQ(times.size(), 2u);
  EXPECT_GT(times[0], 100);
}

// Empty kernels one after another on a stream: what the host takes is what is asked for.
TEST(TimeRounds, AStreamIsTimedAsTheHostFeedsIt) {
  ScriptedCard card{.launch_us = 8, .work_us = 4};
  for (const double ms : time_rounds(card, {.warmup = 0, .repeats = 2, .queued = false}))
    EXPECT_NEAR(ms, 0.012, 1e-9);
}

}  // namespace
}  // namespace tessera::measure
