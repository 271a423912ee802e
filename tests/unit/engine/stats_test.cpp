#include "sim/engine/stats.hpp"

#include <gtest/gtest.h>

#include <array>
#include <boost/random/lognormal_distribution.hpp>
#include <cmath>
#include <cstdint>
#include <vector>

#include "sim/engine/random.hpp"

namespace tessera {
namespace {

TEST(Counter, AddsUp) {
  Counter counter;
  counter.add();
  counter.add(41);
  EXPECT_EQ(counter.value(), 42);
}

TEST(Gauge, WeighsEachLevelByTheTimeItHeld) {
  Gauge gauge;
  gauge.set(10, 4);  // 0 for 10
  gauge.set(40, 1);  // 4 for 30
  EXPECT_EQ(gauge.level(), 1);
  EXPECT_EQ(gauge.max(), 4);
  EXPECT_DOUBLE_EQ(gauge.mean(60), (0 * 10 + 4 * 30 + 1 * 20) / 60.0);
  gauge.add(60, 9);
  EXPECT_EQ(gauge.level(), 10);
  EXPECT_DOUBLE_EQ(gauge.mean(100), (4 * 30 + 1 * 20 + 10 * 40) / 100.0);
}

TEST(Gauge, StartsWhereItIsTold) {
  Gauge gauge(100, 7);
  EXPECT_TRUE(std::isnan(gauge.mean(100)));
  EXPECT_DOUBLE_EQ(gauge.mean(150), 7);
  EXPECT_EQ(gauge.max(), 7);
}

TEST(Gauge, AMomentaryPeakCountsForTheMaximumOnly) {
  Gauge gauge;
  gauge.set(5, 100);
  gauge.set(5, 0);
  EXPECT_EQ(gauge.max(), 100);
  EXPECT_DOUBLE_EQ(gauge.mean(10), 0);
}

TEST(Gauge, HoldsTerabytesForWeeksWithoutOverflow) {
  Gauge gauge(0, std::int64_t{1} << 42);
  EXPECT_DOUBLE_EQ(gauge.mean(std::int64_t{1} << 62), std::ldexp(1, 42));
}

TEST(Gauge, RefusesTimeRunningBackwards) {
  Gauge gauge;
  gauge.set(10, 1);
  EXPECT_THROW(gauge.set(9, 1), std::logic_error);
  EXPECT_THROW(static_cast<void>(gauge.mean(9)), std::logic_error);
}

TEST(Histogram, CountMeanAndExtremesAreExact) {
  Histogram histogram;
  histogram.add(3);
  histogram.add(1'000'000'007);
  histogram.add(10, 2);
  EXPECT_EQ(histogram.count(), 4);
  EXPECT_EQ(histogram.min(), 3);
  EXPECT_EQ(histogram.max(), 1'000'000'007);
  EXPECT_DOUBLE_EQ(histogram.mean(), (3.0 + 1'000'000'007.0 + 20.0) / 4);
}

TEST(Histogram, EmptyHasNoMeanAndNoPercentile) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0);
  EXPECT_TRUE(std::isnan(histogram.mean()));
  EXPECT_TRUE(std::isnan(histogram.percentile(0.5)));
}

TEST(Histogram, SmallValuesAreKeptExactly) {
  Histogram histogram;
  for (std::int64_t value = 0; value < 256; ++value) histogram.add(value);
  for (int rank = 0; rank < 255; ++rank) ASSERT_EQ(histogram.percentile((rank + 0.5) / 255), rank);
}

// A value between a smaller and a larger one, so that the exact extremes cannot help.
TEST(Histogram, AnyValueOf63BitsIsWithinThePromisedError) {
  sim::RandomStream random(1, 0);
  double worst = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<std::int64_t>(random() >> (1 + random() % 62)) | 1;
    Histogram histogram;
    histogram.add(0);
    histogram.add(value);
    histogram.add(std::numeric_limits<std::int64_t>::max());
    worst = std::max(worst, std::abs(histogram.percentile(0.5) / static_cast<double>(value) - 1));
  }
  EXPECT_LE(worst, 0.006);
  EXPECT_LE(worst, 1.0 / 256);
  EXPECT_GT(worst, 1.0 / 512);  // the buckets are no finer than said: the test sees real error
}

TEST(Histogram, PercentilesFollowTheExactOnes) {
  sim::RandomStream random(2, 0);
  boost::random::lognormal_distribution<double> gap(std::log(3e10), 0.7);  // 30 ms in ps
  Histogram histogram;
  std::vector<double> samples;
  for (int i = 0; i < 100'000; ++i) {
    const std::int64_t value = std::llround(gap(random));
    histogram.add(value);
    samples.push_back(static_cast<double>(value));
  }
  const std::array quantiles{0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0};
  const auto exact = percentiles<double>(samples, quantiles);
  for (std::size_t i = 0; i < quantiles.size(); ++i) {
    EXPECT_NEAR(histogram.percentile(quantiles[i]) / exact[i], 1, 0.006) << quantiles[i];
  }
}

TEST(Histogram, AWeightedAddEqualsAddingOneByOne) {
  Histogram weighted;
  Histogram single;
  weighted.add(12345, 1000);
  weighted.add(777, 3);
  for (int i = 0; i < 1000; ++i) single.add(12345);
  for (int i = 0; i < 3; ++i) single.add(777);
  EXPECT_EQ(weighted.count(), single.count());
  EXPECT_EQ(weighted.mean(), single.mean());
  for (const double q : {0.0, 0.001, 0.002, 0.01, 0.5, 1.0})
    EXPECT_EQ(weighted.percentile(q), single.percentile(q));
  weighted.add(1, 0);  // nothing happened
  EXPECT_EQ(weighted.count(), 1003);
  EXPECT_EQ(weighted.min(), 777);
}

TEST(Histogram, MergingEqualsAddingEverythingToOne) {
  Histogram left;
  Histogram right;
  Histogram both;
  sim::RandomStream random(9, 9);
  for (int i = 0; i < 2000; ++i) {
    const auto value = static_cast<std::int64_t>(random() % 1'000'000);
    const auto far = static_cast<std::int64_t>(random() % 1'000'000'000'000);
    left.add(value);
    right.add(far);
    both.add(value);
    both.add(far);
  }
  left.merge(right);
  left.merge(Histogram{});
  EXPECT_EQ(left.count(), both.count());
  EXPECT_EQ(left.mean(), both.mean());
  EXPECT_EQ(left.min(), both.min());
  EXPECT_EQ(left.max(), both.max());
  for (int q = 0; q <= 100; ++q) ASSERT_EQ(left.percentile(q / 100.0), both.percentile(q / 100.0)) << q;
}

TEST(Histogram, SumsBeyond64BitsStayExact) {
  Histogram histogram;
  histogram.add(50'000'000'000, 10'000'000'000);  // ten thousand million tokens of 50 ms
  EXPECT_DOUBLE_EQ(histogram.mean(), 5e10);
}

TEST(Histogram, RefusesWhatItCannotCount) {
  Histogram histogram;
  EXPECT_THROW(histogram.add(-1), std::logic_error);
  EXPECT_THROW(histogram.add(1, -1), std::logic_error);
  EXPECT_THROW(static_cast<void>(histogram.percentile(1.01)), std::logic_error);
  EXPECT_THROW(static_cast<void>(histogram.percentile(std::nan(""))), std::logic_error);
}

// Worked by hand from h = (n - 1) q.
TEST(Percentile, InterpolatesBetweenNeighbouringRanks) {
  std::vector<double> samples = {40, 10, 30, 20};
  EXPECT_DOUBLE_EQ(percentile<double>(samples, 0), 10);
  EXPECT_DOUBLE_EQ(percentile<double>(samples, 0.5), 25);
  EXPECT_DOUBLE_EQ(percentile<double>(samples, 0.9), 37);  // h = 2.7
  EXPECT_DOUBLE_EQ(percentile<double>(samples, 1), 40);
  std::vector<float> one = {3.5F};
  EXPECT_DOUBLE_EQ(percentile<float>(one, 0.99), 3.5);
  std::vector<float> none;
  EXPECT_TRUE(std::isnan(percentile<float>(none, 0.5)));
}

TEST(Percentile, ManyAtOnceEqualOneByOneAndTheSortedRanks) {
  sim::RandomStream random(4, 0);
  for (const int n : {2, 3, 10, 101, 1000}) {
    std::vector<float> samples;
    for (int i = 0; i < n; ++i) samples.push_back(static_cast<float>(random() % 500));  // with ties
    std::vector<float> sorted = samples;
    std::sort(sorted.begin(), sorted.end());
    const std::array quantiles{0.0, 0.25, 0.5, 0.5, 0.9, 0.95, 0.99, 1.0};
    std::vector<float> shuffled = samples;
    const auto all = percentiles<float>(shuffled, quantiles);
    for (std::size_t i = 0; i < quantiles.size(); ++i) {
      const double rank = (n - 1) * quantiles[i];
      const auto low = static_cast<std::size_t>(rank);
      const std::size_t high = std::min(low + 1, sorted.size() - 1);
      const double expected = sorted[low] * (1 - (rank - static_cast<double>(low))) +
                              sorted[high] * (rank - static_cast<double>(low));
      ASSERT_NEAR(all[i], expected, 1e-9) << n << " samples at " << quantiles[i];
      ASSERT_EQ(percentile<float>(samples, quantiles[i]), all[i]);
    }
  }
}

TEST(Percentile, RefusesQuantilesOutOfOrderOrRange) {
  std::vector<double> samples = {1, 2, 3};
  EXPECT_THROW(percentile<double>(samples, 1.5), std::logic_error);
  EXPECT_THROW(percentile<double>(samples, std::nan("")), std::logic_error);
  const std::array falling{0.5, 0.4};
  EXPECT_THROW(percentiles<double>(samples, falling), std::logic_error);
}

}  // namespace
}  // namespace tessera
