#include "validation/statistics.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera {
namespace {

TEST(Statistics, QuantilesInterpolateBetweenRanks) {
  EXPECT_DOUBLE_EQ(quantile({3, 1, 2}, 0.5), 2);
  EXPECT_DOUBLE_EQ(quantile({4, 1, 3, 2}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({10, 0}, 0.9), 9);
  EXPECT_DOUBLE_EQ(quantile({7}, 0.9), 7);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3}, 0), 1);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3}, 1), 3);
}

TEST(Statistics, ErrorsOfRatiosInPercent) {
  const std::vector<double> ratios = {1.1, 0.8, 1.0, 1.3, 0.9};
  const ErrorSummary s = summarise(ratios);
  EXPECT_EQ(s.rows, 5u);
  EXPECT_NEAR(s.mape, (10 + 20 + 0 + 30 + 10) / 5.0, 1e-9);
  EXPECT_NEAR(s.median_ape, 10, 1e-9);
  EXPECT_NEAR(s.p90_ape, 26, 1e-9);  // ranks 0, 10, 10, 20, 30: 60 % of the way from 20 to 30
  EXPECT_NEAR(s.bias, 2, 1e-9);
}

TEST(Statistics, NothingIsZeroRowsNotZeroError) { EXPECT_EQ(summarise(std::span<const double>{}).rows, 0u); }

TEST(Statistics, RankCorrelationSeesOrderAlone) {
  const std::vector<Prediction> rising = {{1, 10}, {2, 20}, {900, 21}}, falling = {{3, 1}, {2, 2}, {1, 9}};
  EXPECT_DOUBLE_EQ(rank_correlation(rising), 1);
  EXPECT_DOUBLE_EQ(rank_correlation(falling), -1);
  // Ranks 0, 1, 2, 3 against 0, 1.5, 1.5, 3: 4.5 / sqrt(5 * 4.5).
  const std::vector<Prediction> tied = {{1, 1}, {2, 5}, {3, 5}, {4, 8}};
  EXPECT_NEAR(rank_correlation(tied), 4.5 / std::sqrt(5 * 4.5), 1e-12);
  const std::vector<Prediction> flat = {{1, 4}, {1, 5}};
  EXPECT_EQ(rank_correlation(flat), 0);
  EXPECT_EQ(rank_correlation({}), 0);
}

TEST(Statistics, GroupsAreKeptApart) {
  GroupedErrors errors;
  errors.add("b", {1.5, 1});
  errors.add("a", {1.0, 1});
  errors.add("b", {0.5, 1});
  const auto groups = errors.summaries();
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups.begin()->first, "a");
  EXPECT_NEAR(groups.at("b").median_ape, 50, 1e-9);
  EXPECT_NEAR(groups.at("b").bias, 0, 1e-9);
}

}  // namespace
}  // namespace tessera
