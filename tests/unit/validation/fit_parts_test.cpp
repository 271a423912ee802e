// The parts a fit is made of: coordinates of parameters, widths of intervals, fits put together, what is said
// of a figure, and which rows would determine it.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <numbers>

#include "validation/coverage.hpp"
#include "validation/fit_knobs.hpp"
#include "validation/provenance.hpp"
#include "validation/uncertainty.hpp"

namespace tessera {
namespace {

// --- coordinates ----------------------------------------------------------------------------------------

TEST(Parameter, IsMeasuredByItsLogarithmWhereItsScaleIs) {
  const Parameter log{"rate", 10, 1, 100, Scale::log}, linear{"share", 0.5, 0.2, 1, Scale::linear};
  EXPECT_DOUBLE_EQ(log.width(), std::log(100.0));
  EXPECT_DOUBLE_EQ(linear.width(), 0.8);
  EXPECT_DOUBLE_EQ(log.coordinate(10), (log.coordinate(1) + log.coordinate(100)) / 2)
      << "the middle of 1 to 100";
}

RC_GTEST_PROP(ParameterProperty, ACoordinateLeadsBack, ()) {
  const Scale scale = *rc::gen::element(Scale::linear, Scale::log);
  const Parameter p{"x", 1, 0.1, 1e6, scale};
  const double value = *rc::gen::inRange(1, 1'000'000) / 7.0;
  RC_ASSERT(std::abs(p.value_at(p.coordinate(value)) / value - 1) <= 1e-12);  // a logarithm and its inverse
}

// --- intervals --------------------------------------------------------------------------------------------

TEST(IntervalFactor, OfOneIntervalIsStudentsTable) {
  // Two-sided 95 %, as printed in any table (to three digits behind the point).
  for (const auto& [freedom, t] :
       {std::pair{1.0, 12.706}, {4.0, 2.776}, {10.0, 2.228}, {30.0, 2.042}, {120.0, 1.980}})
    EXPECT_NEAR(interval_factor(1, freedom), t, 0.0005) << freedom;
  EXPECT_NEAR(interval_factor(1, 1e7), 1.95996, 1e-4) << "a normal's";
}

TEST(IntervalFactor, ADozenTogetherAreAlmostHalfAsWideAgain) {
  // Each at 0.95^(1/12) = 0.99573 two-sided: 2.858 of a normal, 1.46 times 1.960.
  EXPECT_NEAR(interval_factor(12, 1e7) / interval_factor(1, 1e7), 1.46, 0.005);
}

// One and two degrees of freedom have closed forms: tan(pi (P - 1/2)) and (2P - 1) / sqrt(2 P (1 - P)).
RC_GTEST_PROP(IntervalFactorProperty, IsSidaksShareOfTheClosedForms, ()) {
  const auto intervals = *rc::gen::inRange<std::size_t>(1, 30);
  const double p = (1 + std::pow(0.95, 1 / static_cast<double>(intervals))) / 2;
  const double cauchy = std::tan(std::numbers::pi * (p - 0.5));
  const double two = (2 * p - 1) / std::sqrt(2 * p * (1 - p));
  // 1 - P keeps 13 digits, and its tangent no more.
  RC_ASSERT(std::abs(interval_factor(intervals, 1) / cauchy - 1) <= 1e-9);
  RC_ASSERT(std::abs(interval_factor(intervals, 2) / two - 1) <= 1e-9);
}

RC_GTEST_PROP(IntervalFactorProperty, WidensWithIntervalsAndNarrowsWithRows, ()) {
  const auto intervals = *rc::gen::inRange<std::size_t>(1, 30);
  const auto freedom = static_cast<double>(*rc::gen::inRange(1, 1'000));
  RC_ASSERT(interval_factor(intervals + 1, freedom) > interval_factor(intervals, freedom));
  RC_ASSERT(interval_factor(intervals, freedom + 1) < interval_factor(intervals, freedom));
}

// --- fits --------------------------------------------------------------------------------------------------

// A straight line in log space has its least squares in closed form: the mean of ln measured.
RC_GTEST_PROP(FitProperty, OfOneFactorIsTheGeometricMean, ()) {
  const auto rows = *rc::gen::inRange<std::size_t>(2, 40);
  std::vector<double> measured;
  double mean = 0;
  for (std::size_t i = 0; i < rows; ++i) {
    measured.push_back(*rc::gen::inRange(20, 50) / 10.0);
    mean += std::log(measured.back()) / static_cast<double>(rows);
  }
  const FitResult r = fit({{"a", 3, 1, 10, Scale::log}}, rows,
                          [&](std::span<const double> p, std::span<double> out) {
                            for (std::size_t i = 0; i < rows; ++i) out[i] = std::log(p[0] / measured[i]);
                          },
                          {.robust_width = 0});
  // The fit ends when a step no longer helps: a thousandth of the value.
  RC_ASSERT(std::abs(std::log(r.values[0]) - mean) <= 1e-3);
}

// The same rows in another unit: the factor takes it up and the cost stays.
RC_GTEST_PROP(FitProperty, AnotherUnitScalesTheFactorAlone, ()) {
  std::vector<double> x, y;
  for (int i = 1; i <= 12; ++i) x.push_back(i), y.push_back(*rc::gen::inRange(80, 120) / 100.0 * i);
  const auto solve = [&](double unit) {
    return fit({{"a", unit, unit / 10, unit * 10, Scale::log}}, x.size(),
               [&](std::span<const double> p, std::span<double> out) {
                 for (std::size_t i = 0; i < x.size(); ++i) out[i] = std::log(p[0] * x[i] / (unit * y[i]));
               });
  };
  const FitResult a = solve(1), b = solve(1024);
  RC_ASSERT(std::abs(b.values[0] / a.values[0] / 1024 - 1) <= 1e-6);
  RC_ASSERT(std::abs(a.cost - b.cost) <= 1e-9);
}

TEST(KernelFit, PutTogetherKeepsNamesApartAndRowsCounted) {
  KernelFit gemm, fp8;
  gemm.parameters = {{"floor_us", 2, 1, 3, 0.1, false}};
  gemm.rows = 40;
  fp8.parameters = {{"floor_us", 5, 4, 6, 0.9, true}, {"rate", 7, 6, 8, 0.9, false}};
  fp8.inseparable = {{"floor_us", "rate", -0.99}};
  fp8.rows = 12;
  gemm.append(fp8, "fp8.");
  EXPECT_EQ(gemm.rows, 52U);
  EXPECT_EQ(gemm.at_bound(), std::vector<std::string>{"fp8.floor_us"});
  EXPECT_TRUE(gemm.in_pair("fp8.rate"));
  EXPECT_FALSE(gemm.in_pair("floor_us")) << "only the other's";
  EXPECT_TRUE(gemm.parameters[0].determined());
  EXPECT_TRUE(gemm.parameters[1].determined()) << "held by the end of its range";
  EXPECT_FALSE(gemm.parameters[2].determined());
}

TEST(FitKnobs, LightFitsStartWhereTheKnobsStandAndGiveValuesAlone) {
  double rate = 4;
  const std::vector<double> measured(20, 5.0);
  const KernelFit light = fit_knobs({{"rate", &rate, 1, 50}}, measured, [&](std::size_t) { return rate; },
                                    {.robust_width = 0}, {.prior = false, .light = true});
  EXPECT_NEAR(rate, 5, 0.01);
  EXPECT_EQ(light.rows, 20U);
  EXPECT_EQ(light.parameters[0].low, 0) << "no interval was asked for";
  EXPECT_EQ(light.parameters[0].high, 0);
}

// --- what is said of a figure
// --------------------------------------------------------------------------------

TEST(CommentOf, SaysHowTheFigureIsHeld) {
  FitRecord r{"gemm.floor_us", 2.5, 2.41234, 2.6, "rows", "60 rows of t.csv, 2000-01-02"};
  EXPECT_EQ(comment_of(r), "2.412 to 2.6 (95 % jointly), 60 rows of t.csv, 2000-01-02");
  for (const auto& [how, said] : {std::pair{"pair", "only together with another"},
                                  {"bound", "held by the end of its range"},
                                  {"prior", "the rows do not determine it"}}) {
    r.how = how;
    EXPECT_EQ(comment_of(r),
              fmt::format("2.412 to 2.6 (95 % jointly), {}, 60 rows of t.csv, 2000-01-02", said));
  }
}

// --- coverage ----------------------------------------------------------------------------------------------

std::string missing(const std::string& parameter, int rows_there) {
  std::string text = "gemm_dtype,m,n,k,latency_ms\n";
  for (int i = 0; i < rows_there; ++i) text += "bfloat16,1,4096,4096,1\n";
  text += "bfloat16,512,512,512,1\n";
  const MeasurementTable table = MeasurementTable::parse(text, "t.csv");
  std::vector<Row> rows;
  for (std::size_t i = 0; i < table.size(); ++i) rows.push_back(table.row(i));
  return missing_rows("gemm", parameter, rows);
}

TEST(Coverage, CountsTheRowsThatAreThere) {
  const std::string need = "with m = 1 and k >= 2048: gemv_serial_ns_per_k not determined";
  EXPECT_EQ(missing("gemv_serial_ns_per_k", 0), "no row " + need);
  EXPECT_EQ(missing("gemv_serial_ns_per_k", 1), "only 1 row " + need);
  EXPECT_EQ(missing("gemv_serial_ns_per_k", 3), "only 3 rows " + need);
  EXPECT_EQ(missing("gemv_serial_ns_per_k", 4), "") << "enough: the parameter does not matter here";
  EXPECT_EQ(missing("no_such_parameter", 0), "");
}

TEST(Coverage, APrefixedParameterIsTheSameNeed) {
  for (const std::string& parameter : covered_parameters("attention")) {
    const std::string plain = missing_rows("attention", parameter, {});
    EXPECT_TRUE(plain.starts_with("no row with ")) << parameter << ": " << plain;
    EXPECT_TRUE(plain.ends_with(": " + parameter + " not determined")) << plain;
    const std::string prefixed = missing_rows("attention", "rates." + parameter, {});
    EXPECT_EQ(prefixed.substr(0, prefixed.rfind(':')), plain.substr(0, plain.rfind(':')));
  }
}

}  // namespace
}  // namespace tessera
