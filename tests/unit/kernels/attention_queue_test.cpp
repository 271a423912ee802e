// The closed form of the fluid queue against an exact event simulation of it.
#include "kernels/cost/attention_queue.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <queue>
#include <random>
#include <vector>

namespace tessera {
namespace {

// The oracle. CTAs head by head, sequence by sequence, first come first served onto the slots; all active
// ones advance together, slowed by the bandwidth they share.
double simulate(const std::vector<double>& lengths, int copies, int slots, double memory_us) {
  double work = 0;
  for (const double x : lengths) work += x * copies;
  std::vector<double> waiting;
  for (int c = 0; c < copies; ++c) waiting.insert(waiting.end(), lengths.begin(), lengths.end());
  std::priority_queue<double, std::vector<double>, std::greater<>> active;  // progress at which each ends
  std::size_t next = 0;
  double progress = 0, time = 0;
  while (next < waiting.size() || !active.empty()) {
    while (next < waiting.size() && active.size() < static_cast<std::size_t>(slots))
      active.push(progress + waiting[next++]);
    const double share = static_cast<double>(active.size()) * memory_us / work;
    time += (active.top() - progress) * std::cbrt(1 + share * share * share);
    progress = active.top();
    active.pop();
  }
  return time;
}

// As a caller knows a batch: the longest 32 and the mean of the others.
struct Known {
  std::vector<CtaLength> list;
  bool last_is_mean = false;
};
Known known_of(std::vector<double> lengths) {
  std::sort(lengths.rbegin(), lengths.rend());
  Known known;
  double rest = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (i < 32)
      known.list.push_back({lengths[i], 1});
    else
      rest += lengths[i];
  }
  if (lengths.size() > 32) {
    const auto others = static_cast<double>(lengths.size() - 32);
    known.list.push_back({rest / others, others});
    known.last_is_mean = true;
  }
  return known;
}
double closed_form(const std::vector<double>& lengths, int copies, int slots, double memory_us) {
  const Known known = known_of(lengths);
  return queue_time({known.list, static_cast<double>(copies), known.last_is_mean}, slots, memory_us, 0).total;
}

TEST(AttentionQueue, EqualLengthsRunInWaves) {
  // 10 CTAs of 5 us on 4 slots, no memory: 3 waves.
  const std::vector<CtaLength> list{{5, 10}};
  EXPECT_DOUBLE_EQ(queue_time({list, 1}, 4, 0, 0).total, 15);
  EXPECT_DOUBLE_EQ(queue_time({list, 1}, 4, 0, 0).schedule, 15);
  // One wave of 4 with as much memory time as work: cbrt(2) longer.
  const std::vector<CtaLength> one{{5, 4}};
  EXPECT_DOUBLE_EQ(queue_time({one, 1}, 4, 5, 0).total, 5 * std::cbrt(2.0));
  // All memory: the bandwidth decides.
  EXPECT_NEAR(queue_time({one, 1}, 4, 5e6, 0).total, 5e6, 1);
}

TEST(AttentionQueue, TheExposedStartOverlapsNothing) {
  const std::vector<CtaLength> one{{5, 4}};
  // 2 us exposed; the other 3 us overlap 4 us of memory time.
  EXPECT_DOUBLE_EQ(queue_time({one, 1}, 4, 4, 2).total, 2 + std::cbrt(27.0 + 64.0));
  // Nothing but start: memory comes on top.
  EXPECT_DOUBLE_EQ(queue_time({one, 1}, 4, 4, 5).total, 9);
}

TEST(AttentionQueue, WithAFreeSlotForEveryCtaItIsExact) {
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    std::lognormal_distribution<double> length(2, 1);
    std::vector<double> lengths(1 + random() % 32);
    for (double& x : lengths) x = length(random);
    const double memory = 40.0 * static_cast<double>(random() % 5);
    EXPECT_NEAR(closed_form(lengths, 4, 128, memory) / simulate(lengths, 4, 128, memory), 1, 1e-9);
  }
}

struct Scatter {
  double bias, p90, worst;
};
Scatter compare(int slots, int copies, double sigma, int n, double active_limit) {
  std::mt19937 random(static_cast<unsigned>(slots * 1000 + copies * 100 + n));
  std::vector<double> errors;
  double bias = 0;
  for (int batch = 0; batch < 40; ++batch) {
    std::lognormal_distribution<double> tiles(0, sigma);
    std::vector<double> lengths(static_cast<std::size_t>(n));
    double work = 0;
    for (double& x : lengths)
      x = 1.4 + 2.5 * std::max(1.0, std::round(8 * tiles(random))), work += x * copies;
    const double error = closed_form(lengths, copies, slots, work / active_limit) /
                             simulate(lengths, copies, slots, work / active_limit) -
                         1;
    errors.push_back(std::abs(error)), bias += error / 40;
  }
  std::sort(errors.begin(), errors.end());
  return {bias, errors[35], errors.back()};
}

// Serving batches: contexts spread by a factor of two or so, 8 KV heads, bandwidth saturated by 50 CTAs. The
// scatter is the unknown order of the sequences; it is largest where one and a bit waves run.
TEST(AttentionQueue, MatchesTheSimulationOfRaggedBatches) {
  for (const int slots : {142, 188, 216})
    for (const double sigma : {0.3, 0.6, 1.0})
      for (const int n : {1, 4, 16, 32, 48, 64, 96, 128, 192, 256}) {
        const Scatter s = compare(slots, 8, sigma, n, 50);
        EXPECT_LT(std::abs(s.bias), 0.02) << slots << " slots, sigma " << sigma << ", n " << n;
        EXPECT_LT(s.p90, 0.032) << slots << " slots, sigma " << sigma << ", n " << n;
      }
}

TEST(AttentionQueue, FewHeadsAndNearlyEqualLengthsScatterMore) {
  for (const int copies : {1, 2, 4, 8})
    for (const double sigma : {0.05, 0.1, 0.2, 0.6})
      for (const int n : {24, 48, 96, 128, 192, 256}) {
        const Scatter s = compare(188, copies, sigma, n, 50);
        EXPECT_LT(std::abs(s.bias), 0.065) << copies << " copies, sigma " << sigma << ", n " << n;
        EXPECT_LT(s.p90, 0.10) << copies << " copies, sigma " << sigma << ", n " << n;
      }
}

TEST(AttentionQueue, NeverFasterThanTheWorkOrTheMemory) {
  std::mt19937 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::lognormal_distribution<double> length(2, 0.8);
    std::vector<double> lengths(1 + random() % 200);
    double work = 0, top = 0;
    const int copies = 1 + static_cast<int>(random() % 16), slots = 16 + static_cast<int>(random() % 200);
    for (double& x : lengths) x = length(random), work += x * copies, top = std::max(top, x);
    const double memory = work / (1 + static_cast<double>(random() % 100));
    const double time = closed_form(lengths, copies, slots, memory);
    EXPECT_GE(time, 0.995 * top);
    EXPECT_GE(time, 0.98 * memory);
    EXPECT_GE(time, 0.98 * work / slots);
  }
}

}  // namespace
}  // namespace tessera
