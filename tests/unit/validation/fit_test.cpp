#include "validation/fit.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "validation/fit_knobs.hpp"

namespace tessera {
namespace {

// A kernel with a floor and a bandwidth, the way the cost models look.
double floor_and_rate(double floor_us, double gb_s, double bytes) { return floor_us + bytes / (gb_s * 1e3); }

std::vector<double> sizes() {
  std::vector<double> bytes;
  for (double b = 1e3; b < 1e9; b *= 1.5) bytes.push_back(b);
  return bytes;
}

std::vector<Parameter> floor_and_rate_box(double floor_start, double rate_start) {
  return {{"floor", floor_start, 0.5, 10, Scale::log}, {"rate", rate_start, 100, 5000, Scale::log}};
}

Residuals against(const std::vector<double>& bytes, const std::vector<double>& measured) {
  return [&bytes, &measured](std::span<const double> p, std::span<double> r) {
    for (std::size_t i = 0; i < r.size(); ++i)
      r[i] = std::log(floor_and_rate(p[0], p[1], bytes[i]) / measured[i]);
  };
}

std::vector<double> measured_with(double floor_us, double gb_s) {
  std::vector<double> times;
  for (const double b : sizes()) times.push_back(floor_and_rate(floor_us, gb_s, b));
  return times;
}

TEST(Fit, FindsTheParametersThatMadeTheData) {
  const auto bytes = sizes();
  const auto measured = measured_with(2.5, 1600);
  for (const double start : {0.6, 3.0, 9.0}) {
    const FitResult r = fit(floor_and_rate_box(start, 300), bytes.size(), against(bytes, measured));
    EXPECT_NEAR(r.values[0], 2.5, 0.0025) << start;
    EXPECT_NEAR(r.values[1], 1600, 1.6) << start;
    EXPECT_TRUE(r.at_bound.empty());
  }
}

TEST(Fit, AFewWildRowsDoNotMoveIt) {
  const auto bytes = sizes();
  auto measured = measured_with(2.5, 1600);
  for (std::size_t i = 0; i < measured.size(); i += 7) measured[i] *= 5;
  const FitResult robust =
      fit(floor_and_rate_box(5, 300), bytes.size(), against(bytes, measured), {.robust_width = 0.02});
  const FitResult plain =
      fit(floor_and_rate_box(5, 300), bytes.size(), against(bytes, measured), {.robust_width = 0});
  EXPECT_NEAR(robust.values[0], 2.5, 0.06);
  EXPECT_NEAR(robust.values[1], 1600, 40);
  EXPECT_GT(std::abs(plain.values[0] - 2.5), 0.3);
}

TEST(Fit, StaysInTheBoxAndSaysWhereTheBoxHolds) {
  const auto bytes = sizes();
  const auto measured = measured_with(2.5, 9000);  // faster than the box allows
  const FitResult r = fit(floor_and_rate_box(5, 300), bytes.size(), against(bytes, measured));
  EXPECT_LE(r.values[1], 5000);
  ASSERT_EQ(r.at_bound.size(), 1u);
  EXPECT_EQ(r.at_bound[0], "rate");
}

TEST(Fit, AStartOnABoundCanLeaveIt) {
  const auto bytes = sizes();
  const auto measured = measured_with(2.5, 1600);
  const FitResult r = fit(floor_and_rate_box(0.5, 5000), bytes.size(), against(bytes, measured));
  EXPECT_NEAR(r.values[0], 2.5, 0.01);
  EXPECT_NEAR(r.values[1], 1600, 5);
}

TEST(Fit, RestartsLeaveALocalMinimum) {
  // Two valleys; the start stands in the shallow one at x = 8, the deep one is at x = 2.
  const Residuals valleys = [](std::span<const double> p, std::span<double> r) {
    const double deep = std::abs(p[0] - 2), shallow = 0.5 + std::abs(p[0] - 8);
    r[0] = std::min(deep, shallow);
  };
  const std::vector<Parameter> box = {{"x", 8, 0, 10}};
  const FitOptions stay{.restarts = 0, .robust_width = 0, .coordinate_polish = false};
  const FitOptions look{.restarts = 6, .robust_width = 0};
  EXPECT_NEAR(fit(box, 1, valleys, stay).values[0], 8, 0.1);
  EXPECT_NEAR(fit(box, 1, valleys, look).values[0], 2, 0.1);
}

TEST(Fit, TheSameRunTwiceGivesTheSameBits) {
  const auto bytes = sizes();
  auto measured = measured_with(2.5, 1600);
  for (std::size_t i = 0; i < measured.size(); ++i) measured[i] *= 1 + 0.1 * std::sin(static_cast<double>(i));
  const FitOptions options{.restarts = 3};
  const FitResult a = fit(floor_and_rate_box(5, 300), bytes.size(), against(bytes, measured), options);
  const FitResult b = fit(floor_and_rate_box(5, 300), bytes.size(), against(bytes, measured), options);
  EXPECT_EQ(a.values, b.values);
  EXPECT_EQ(a.evaluations, b.evaluations);
}

TEST(FitKnobs, WritesFourDigitsWhereTheParametersLive) {
  double floor_us = 1, gb_s = 200;
  const auto bytes = sizes();
  const auto measured = measured_with(2.4996, 1600);
  const KernelFit fitted =
      fit_knobs({{"floor", &floor_us, 0.5, 10}, {"rate", &gb_s, 100, 5000}}, measured,
                [&](std::size_t i) { return floor_and_rate(floor_us, gb_s, bytes[i]); }, {});
  EXPECT_TRUE(fitted.at_bound().empty());
  EXPECT_NEAR(floor_us, 2.5, 0.003);
  EXPECT_EQ(floor_us, std::round(floor_us * 1000) / 1000);
  EXPECT_EQ(gb_s, std::round(gb_s));
}

}  // namespace
}  // namespace tessera
