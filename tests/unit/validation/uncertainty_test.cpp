#include "validation/uncertainty.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "validation/fit_knobs.hpp"

namespace tessera {
namespace {

// ln t = ln a + ln b + c x / 10: a and b only as a product, c alone.
Residuals product(std::size_t rows, double noise) {
  return [rows, noise](std::span<const double> p, std::span<double> r) {
    for (std::size_t i = 0; i < rows; ++i)
      r[i] = std::log(p[0] * p[1] / 6) + (p[2] - 0.5) * static_cast<double>(i) / 10 +
             noise * (i % 2 == 0 ? 1.0 : -1.0);
  };
}
const std::vector<Parameter> kBox = {
    {"a", 2, 1, 20, Scale::log}, {"b", 3, 1, 20, Scale::log}, {"c", 0.5, 0, 1, Scale::linear}};

TEST(Uncertainty, WhatOnlyAProductDeterminesIsNamedAndTheRestIsKnown) {
  const Uncertainty u = uncertainty_of(kBox, {2, 3, 0.5}, 40, product(40, 0.03));
  ASSERT_EQ(u.inseparable.size(), 1u);
  EXPECT_EQ(u.inseparable[0].a, "a");
  EXPECT_EQ(u.inseparable[0].b, "b");
  EXPECT_LT(u.inseparable[0].correlation, -0.99);
  EXPECT_GT(u.unknown[0], 0.5);
  EXPECT_LT(u.unknown[2], 0.05);
}

TEST(Uncertainty, TheIntervalIsStudentsOfAStraightLine) {
  // Mean of 40 rows of +-0.03: deviation 0.03 sqrt(40 / 39) / sqrt(40), Student's t of 39 degrees 2.023.
  const Residuals mean = [](std::span<const double> p, std::span<double> r) {
    for (std::size_t i = 0; i < r.size(); ++i) r[i] = std::log(p[0] / 5) + (i % 2 == 0 ? 0.03 : -0.03);
  };
  FitOptions plain;
  plain.robust_width = 0;
  const Uncertainty u = uncertainty_of({{"a", 5, 1, 20, Scale::log}}, {5}, 40, mean, plain);
  const double half = 2.023 * 0.03 / std::sqrt(39.0);
  EXPECT_NEAR(std::log(u.high[0] / 5), half, 0.003 * half);
  EXPECT_NEAR(std::log(5 / u.low[0]), half, 0.003 * half);
}

TEST(Uncertainty, WithoutAnyRowThatSeesItTheIntervalIsTheRange) {
  const Residuals blind = [](std::span<const double> p, std::span<double> r) {
    for (double& x : r) x = std::log(p[0] / 2);
  };
  const Uncertainty u =
      uncertainty_of({{"a", 2, 1, 20, Scale::log}, {"b", 3, 1, 10, Scale::log}}, {2, 3}, 30, blind);
  EXPECT_NEAR(u.unknown[1], 1, 1e-6);
  EXPECT_EQ(u.low[1], 1);
  EXPECT_EQ(u.high[1], 10);
}

TEST(Uncertainty, APriorNarrowsWhatTheRowsLeaveOpen) {
  std::vector<Parameter> box = kBox;
  const Uncertainty open = uncertainty_of(box, {2, 3, 0.5}, 40, product(40, 0.03));
  box[0].prior_sd = 0.1;
  const Uncertainty held = uncertainty_of(box, {2, 3, 0.5}, 40, product(40, 0.03));
  EXPECT_LT(std::log(held.high[0] / held.low[0]), 0.5 * std::log(open.high[0] / open.low[0]));
  EXPECT_LT(std::log(held.high[1] / held.low[1]), 0.5 * std::log(open.high[1] / open.low[1]));
  EXPECT_EQ(held.unknown, open.unknown);  // what the rows say is not the prior's doing
}

TEST(Fit, APriorHoldsWhatRowsDoNotSayAndYieldsWhereTheyDo) {
  std::vector<Parameter> box = kBox;
  box[0].start = 4, box[1].start = 3;
  box[0].prior_sd = box[1].prior_sd = 0.3;
  const FitResult few = fit(box, 40, product(40, 0.03));
  // The product must fall from 12 to 6: either gives a square root of 2.
  EXPECT_NEAR(few.values[0] * few.values[1], 6, 0.1);
  EXPECT_NEAR(few.values[0], 4 / std::sqrt(2), 0.05);
  EXPECT_NEAR(few.values[2], 0.5, 0.01);
}

TEST(FitKnobs, APriorOutsideItsRangeIsNoKnowledge) {
  double rate = 0;  // the other card's kernel has no such part
  const std::vector<double> measured(30, 8.0);
  const KernelFit fit = fit_knobs({{"rate", &rate, 1, 50}}, measured, [&](std::size_t) { return rate; },
                                  {.robust_width = 0}, {.prior = true, .light = false});
  EXPECT_NEAR(rate, 8, 0.01);
  EXPECT_TRUE(fit.parameters[0].determined());
}

}  // namespace
}  // namespace tessera
