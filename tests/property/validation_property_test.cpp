// Error figures and measurement tables against slow versions of their definitions, and the laws they keep.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>  // needs gtest before it

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "validation/folds.hpp"
#include "validation/measurement.hpp"
#include "validation/statistics.hpp"

namespace tessera {
namespace {

std::vector<Prediction> any_predictions(std::size_t least) {
  const auto count = *rc::gen::inRange<std::size_t>(least, 40);
  std::vector<Prediction> all;
  for (std::size_t i = 0; i < count; ++i)  // few different times, so that there are ties
    all.push_back({*rc::gen::inRange(1, 30) / 4.0, *rc::gen::inRange(1, 30) / 4.0});
  return all;
}

double slow_quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const double rank = q * (static_cast<double>(values.size()) - 1);
  const auto low = static_cast<std::size_t>(std::floor(rank)), high = std::min(low + 1, values.size() - 1);
  return values[low] + (rank - std::floor(rank)) * (values[high] - values[low]);
}

RC_GTEST_PROP(QuantileProperty, EqualsSorting, ()) {
  const auto whole = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-50, 50)));
  const std::vector<double> values(whole.begin(), whole.end());
  const double q = *rc::gen::inRange(0, 101) / 100.0;
  RC_ASSERT(quantile(values, q) == slow_quantile(values, q));
}

RC_GTEST_PROP(QuantileProperty, RisesWithItsShareAndMovesWithTheValues, ()) {
  const auto whole = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(-50, 50)));
  const std::vector<double> values(whole.begin(), whole.end());
  std::vector<double> doubled;
  for (const double x : values) doubled.push_back(2 * x);  // exact
  double before = *std::min_element(values.begin(), values.end());
  RC_ASSERT(quantile(values, 0) == before);
  for (int percent = 0; percent <= 100; percent += 5) {
    const double at = quantile(values, percent / 100.0);
    RC_ASSERT(at >= before);
    RC_ASSERT(quantile(doubled, percent / 100.0) == 2 * at);
    before = at;
  }
  RC_ASSERT(before == *std::max_element(values.begin(), values.end()));
}

// Spearman by its definition: Pearson's correlation of ranks, a rank being how many are smaller plus half of
// how many others are equal.
double slow_rank_correlation(const std::vector<Prediction>& all) {
  std::vector<double> a, b;
  for (const Prediction& p : all) {
    double ra = 0, rb = 0;
    for (const Prediction& other : all) {
      ra += other.predicted_us < p.predicted_us ? 1 : other.predicted_us == p.predicted_us ? 0.5 : 0;
      rb += other.measured_us < p.measured_us ? 1 : other.measured_us == p.measured_us ? 0.5 : 0;
    }
    a.push_back(ra), b.push_back(rb);
  }
  const auto n = static_cast<double>(all.size());
  const double ma = std::accumulate(a.begin(), a.end(), 0.0) / n,
               mb = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    ab += (a[i] - ma) * (b[i] - mb), aa += (a[i] - ma) * (a[i] - ma), bb += (b[i] - mb) * (b[i] - mb);
  return aa == 0 || bb == 0 ? 0 : ab / std::sqrt(aa * bb);
}

RC_GTEST_PROP(RankCorrelationProperty, EqualsItsDefinitionWithTies, ()) {
  const auto all = any_predictions(1);
  const double r = rank_correlation(all);
  RC_ASSERT(std::abs(r - slow_rank_correlation(all)) <= 1e-12);  // halves of whole numbers, two roundings
  RC_ASSERT(r >= -1 - 1e-12 && r <= 1 + 1e-12);
}

RC_GTEST_PROP(RankCorrelationProperty, DoesNotSeeUnitsSidesOrTheOrderOfRows, ()) {
  auto all = any_predictions(2);
  const double r = rank_correlation(all);
  std::vector<Prediction> swapped, scaled;
  for (const Prediction& p : all) {
    swapped.push_back({p.measured_us, p.predicted_us});
    scaled.push_back({std::exp(p.predicted_us), 1e3 * p.measured_us});
  }
  RC_ASSERT(std::abs(rank_correlation(swapped) - r) <= 1e-12);
  RC_ASSERT(rank_correlation(scaled) == r);
  std::reverse(all.begin(), all.end());
  RC_ASSERT(std::abs(rank_correlation(all) - r) <= 1e-12);
}

RC_GTEST_PROP(ErrorSummaryProperty, EqualsItsDefinitions, ()) {
  const auto all = any_predictions(1);
  const ErrorSummary s = summarise(std::span<const Prediction>(all));
  std::vector<double> errors;
  double mape = 0, bias = 0;
  for (const Prediction& p : all) {
    errors.push_back(100 * std::abs(p.predicted_us / p.measured_us - 1));
    mape += errors.back() / static_cast<double>(all.size());
    bias += 100 * (p.predicted_us / p.measured_us - 1) / static_cast<double>(all.size());
  }
  // Sums of at most 40 errors of at most 3,000 % in another order.
  RC_ASSERT(s.rows == all.size());
  RC_ASSERT(std::abs(s.mape - mape) <= 1e-9);
  RC_ASSERT(std::abs(s.bias - bias) <= 1e-9);
  RC_ASSERT(std::abs(s.median_ape - slow_quantile(errors, 0.5)) <= 1e-9);
  RC_ASSERT(std::abs(s.p90_ape - slow_quantile(errors, 0.9)) <= 1e-9);
  RC_ASSERT(std::abs(s.bias) <= s.mape + 1e-9);
  RC_ASSERT(s.median_ape <= s.p90_ape);
}

TEST(ErrorSummary, APerfectPredictionHasNoError) {
  const std::vector<Prediction> exact = {{1, 1}, {20, 20}, {3, 3}};
  const ErrorSummary s = summarise(std::span<const Prediction>(exact));
  EXPECT_EQ(s.mape, 0);
  EXPECT_EQ(s.p90_ape, 0);
  EXPECT_EQ(s.bias, 0);
  EXPECT_EQ(s.rank_correlation, 1);
}

TEST(ErrorSummary, TwiceTooSlowAndTwiceTooFastAreNotAlike) {
  const std::vector<Prediction> slow = {{2, 1}}, fast = {{1, 2}};
  EXPECT_EQ(summarise(std::span<const Prediction>(slow)).mape, 100);
  EXPECT_EQ(summarise(std::span<const Prediction>(slow)).bias, 100);
  EXPECT_EQ(summarise(std::span<const Prediction>(fast)).mape, 50);
  EXPECT_EQ(summarise(std::span<const Prediction>(fast)).bias, -50);
}

// --- folds and halves --------------------------------------------------------------------------------

RC_GTEST_PROP(FoldsProperty, AShapesFoldDependsOnItsKeyAlone, (const std::string& key)) {
  const int folds = *rc::gen::inRange(2, 101);
  const int fold = fold_of(key, folds);
  RC_ASSERT(fold >= 0 && fold < folds);
  RC_ASSERT(fold_of(std::string(key), folds) == fold);
  RC_ASSERT(sample_key(key) < std::uint64_t{1} << 56);
}

// Of 20,000 shapes each of the 10 cells (fold, half) has its tenth: within five standard deviations of
// sqrt(20,000 x 0.1 x 0.9) = 42.
TEST(Folds, AreIndependentOfTheHeldOutHalfAndOfTheSample) {
  std::map<std::pair<int, bool>, int> halves, samples;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = fmt::format("gemm {} 4096 {}", i, i % 7 * 1024);
    ++halves[{fold_of(key, 5), is_held_out(key)}];
    ++samples[{fold_of(key, 5), (sample_key(key) >> 55) != 0}];
  }
  ASSERT_EQ(halves.size(), 10U);
  ASSERT_EQ(samples.size(), 10U);
  for (const auto& [cell, count] : halves) EXPECT_NEAR(count, 2'000, 212) << cell.first << cell.second;
  for (const auto& [cell, count] : samples) EXPECT_NEAR(count, 2'000, 212) << cell.first << cell.second;
}

// --- tables --------------------------------------------------------------------------------------------

RC_GTEST_PROP(MeasurementProperty, CellsAndPlacesAreThoseOfTheText, ()) {
  const auto cells = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 2'000)));
  std::string text = "a,b,latency_ms\n";
  std::vector<int> lines, columns;
  for (int line = 2; const int cell : cells) {
    const int empty = *rc::gen::inRange(0, 3), spaces = *rc::gen::inRange(0, 3);
    for (int i = 0; i < empty; ++i, ++line) text += *rc::gen::element("\n", "\r\n");
    const std::string first = std::string(static_cast<std::size_t>(spaces), ' ') + std::to_string(cell);
    text += first + "," + std::to_string(cell + 1) + ",0.5" + *rc::gen::element("\n", "\r\n", " \n");
    lines.push_back(line++), columns.push_back(static_cast<int>(first.size()) + 2);
  }
  const MeasurementTable table = MeasurementTable::parse(text, "t.csv");
  RC_ASSERT(table.size() == cells.size());
  for (std::size_t i = 0; i < cells.size(); ++i) {
    RC_ASSERT(table.row(i).integer("a") == cells[i]);
    RC_ASSERT(table.row(i).integer("b") == cells[i] + 1);
    RC_ASSERT(table.row(i).latency_us() == 500);
    RC_ASSERT(table.row(i).line() == lines[i]);
    RC_ASSERT(table.row(i).at("b").line == lines[i]);
    RC_ASSERT(table.row(i).at("b").column == columns[i]);
  }
}

RC_GTEST_PROP(MeasurementProperty, AnyTextIsReadOrRefusedWithItsName, ()) {
  const auto text =
      *rc::gen::container<std::string>(rc::gen::element('a', '1', ',', '\n', '\r', '"', '.', '-', ' '));
  try {
    const MeasurementTable table = MeasurementTable::parse("a,latency_ms\n" + text, "t.csv");
    for (std::size_t i = 0; i < table.size(); ++i) RC_ASSERT(table.row(i).latency_us() > 0);
  } catch (const InputError& error) {
    RC_ASSERT(std::string(error.what()).starts_with("t.csv:"));
  }
}

RC_GTEST_PROP(MeasurementProperty, AWholeNumberHasOneKeyHoweverItIsSpelt, ()) {
  const auto value = *rc::gen::inRange<std::int64_t>(-1'000'000'000, 1'000'000'000);
  const std::string text = fmt::format("a,b,c,latency_ms\n{0},{0}.0,{0}.000,1\n", value);
  const MeasurementTable table = MeasurementTable::parse(text, "t.csv");
  for (const char* column : {"a", "b", "c"}) RC_ASSERT(table.row(0).key(column) == std::to_string(value));
}

}  // namespace
}  // namespace tessera
