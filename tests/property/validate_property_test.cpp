// What a validation counts, over random tables of a kernel whose prediction is a column.
#include "validation/validate.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>  // needs gtest before it

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace tessera {
namespace {

KernelValidator column_kernel() {
  return {.name = "toy",
          .recognises = [](const MeasurementTable& t) { return t.find_column("p") >= 0; },
          .columns = {"kernel_source", "shape", "p"},
          .covers = [](const Row& r) { return r.text("kernel_source") != "other"; },
          .fitted = [](const Row&) { return true; },
          .predict =
              [](const Gpu&, const Row& r) {
                OpTime t;
                t.total = r.number("p");
                t.in_range = t.total < 1000;
                return t;
              },
          .shape_key = [](const Row& r) { return std::string(r.text("shape")); },
          .dtype = [](const Row& r) { return std::string(r.number("p") < 10 ? "fp8" : "bfloat16"); },
          .regime = [](const Row& r) { return std::string(r.number("p") < 50 ? "short" : "long"); },
          .calibrate = [](Gpu&, std::span<const Row>, const FitControl&) { return KernelFit{}; },
          .section = "gemm",
          .source = [](KernelBehaviour& b) -> std::string& { return b.gemm.source; }};
}

struct Line {
  std::string kernel;
  int shape;
  int predicted_us, measured_us;
  bool flagged;
  [[nodiscard]] bool usable() const { return !flagged && kernel != "other"; }
  [[nodiscard]] std::string text() const {
    return fmt::format("{},s{},{},{:.17g},{}\n", kernel, shape, predicted_us, measured_us * 1e-3,
                       flagged ? "slow" : "");
  }
};

std::vector<Line> any_lines() {
  std::vector<Line> lines(*rc::gen::inRange<std::size_t>(1, 40));
  for (Line& l : lines)
    l = {*rc::gen::element<std::string>("a", "b", "other"), *rc::gen::inRange(0, 50),
         *rc::gen::inRange(1, 1'500), *rc::gen::inRange(1, 1'500), *rc::gen::inRange(0, 5) == 0};
  lines.front().kernel = "a", lines.front().flagged = false;  // one at least can be used
  return lines;
}

MeasurementTable table_of(const std::vector<Line>& lines, const char* file = "dir/toy.csv") {
  std::string text = "kernel_source,shape,p,latency_ms,flag\n";
  for (const Line& l : lines) text += l.text();
  return MeasurementTable::parse(std::move(text), file);
}

Gpu card() {
  Gpu g;
  g.name = g.kernels->card = "paper";
  g.kernels->gemm.source = "toy: toy.csv, fitted on 1 rows";
  return g;
}

ValidationReport report_of(const std::vector<Line>& lines, const ValidateOptions& options = {}) {
  std::vector<MeasurementTable> tables;
  tables.push_back(table_of(lines));
  return validate(column_kernel(), card(), tables, options);
}

RC_GTEST_PROP(ValidateProperty, EveryRowIsCountedOnce, ()) {
  const auto lines = any_lines();
  const ValidationReport r = report_of(lines);
  const auto count = [&](auto&& which) {
    return static_cast<std::size_t>(std::count_if(lines.begin(), lines.end(), which));
  };
  const auto held = [](const Line& l) { return is_held_out(fmt::format("s{}", l.shape)); };
  RC_ASSERT(r.rows == lines.size());
  RC_ASSERT(r.flagged == count([](const Line& l) { return l.flagged; }));
  RC_ASSERT(r.unsupported == count([](const Line& l) { return !l.flagged && l.kernel == "other"; }));
  RC_ASSERT(r.used.rows == count([](const Line& l) { return l.usable(); }));
  RC_ASSERT(r.out_of_range.rows == count([](const Line& l) { return l.usable() && l.predicted_us >= 1000; }));
  RC_ASSERT(r.in_sample.rows ==
            count([&](const Line& l) { return l.usable() && l.predicted_us < 1000 && !held(l); }));
  RC_ASSERT(r.held_out.rows ==
            count([&](const Line& l) { return l.usable() && l.predicted_us < 1000 && held(l); }));
  std::size_t by_type = 0, by_kernel = 0, by_regime = 0;
  for (const auto& [name, errors] : r.held_out_by_dtype) by_type += errors.rows;
  for (const auto& [name, errors] : r.groups) {
    by_kernel += name.starts_with("kernel_source=") ? errors.rows : 0;
    by_regime += name.starts_with("regime=") ? errors.rows : 0;
  }
  RC_ASSERT(by_type == r.held_out.rows);
  RC_ASSERT(by_kernel == r.used.rows);
  RC_ASSERT(by_regime == r.used.rows);
}

RC_GTEST_PROP(ValidateProperty, TheOrderOfRowsAndTheirSplitIntoTablesChangeNoFigure, ()) {
  const auto lines = any_lines();
  const ValidationReport r = report_of(lines);
  const auto cut = static_cast<std::ptrdiff_t>(*rc::gen::inRange<std::size_t>(0, lines.size() + 1));
  std::vector<MeasurementTable> two;
  two.push_back(table_of({lines.begin() + cut, lines.end()}));
  two.push_back(table_of({lines.begin(), lines.begin() + cut}));
  const ValidationReport other = validate(column_kernel(), card(), two, {});
  RC_ASSERT(other.used.rows == r.used.rows);
  RC_ASSERT(other.held_out.rows == r.held_out.rows);
  // Quantiles of the same errors; means add up in another order.
  RC_ASSERT(other.used.median_ape == r.used.median_ape);
  RC_ASSERT(other.used.p90_ape == r.used.p90_ape);
  RC_ASSERT(std::abs(other.used.mape - r.used.mape) <= 1e-9 * r.used.mape);
}

RC_GTEST_PROP(ValidateProperty, TheWorstRowsAreTheFurthestInEitherDirection, ()) {
  const auto lines = any_lines();
  ValidateOptions options;
  options.worst = *rc::gen::inRange<std::size_t>(0, 6);
  const ValidationReport r = report_of(lines, options);
  std::vector<double> distances;
  for (const Line& l : lines)
    if (l.usable())
      distances.push_back(std::abs(std::log(static_cast<double>(l.predicted_us) / l.measured_us)));
  std::sort(distances.rbegin(), distances.rend());
  RC_ASSERT(r.worst.size() == std::min(options.worst, distances.size()));
  for (std::size_t i = 0; i < r.worst.size(); ++i) {
    const WorstRow& w = r.worst[i];
    // A measured time goes through milliseconds.
    RC_ASSERT(std::abs(std::abs(std::log(w.predicted.total / w.measured_us)) - distances[i]) <= 1e-9);
    const Line& l = lines[static_cast<std::size_t>(w.line - 2)];
    RC_ASSERT(l.usable() && w.shape == fmt::format("s{}", l.shape));
    RC_ASSERT(w.predicted.total == l.predicted_us);
  }
}

RC_GTEST_PROP(ValidateProperty, WhereAndItsComplementMakeTheWhole, ()) {
  auto lines = any_lines();
  lines.push_back({"b", 1, 5, 5, false});
  const auto only = [&](const char* kernels) {
    ValidateOptions options;
    options.where = {parse_where(std::string("kernel_source=") + kernels)};
    return report_of(lines, options);
  };
  RC_ASSERT(only("a").used.rows + only("b").used.rows == report_of(lines).used.rows);
  RC_ASSERT(only("a,b").used.rows == report_of(lines).used.rows);
  RC_ASSERT(only("b,a").used.mape == only("a,b").used.mape);
  RC_ASSERT(only("a,other").rows + only("b").rows == lines.size());
}

RC_GTEST_PROP(ValidateProperty, ASampleTakesWholeShapesAndCountsTheRest, ()) {
  std::vector<Line> lines;
  for (int shape = 0; shape < 400; ++shape)
    for (int copy = 0; copy < 2; ++copy) lines.push_back({"a", shape, 20 + copy, 20, false});
  ValidateOptions options;
  options.sample = *rc::gen::element<std::size_t>(40, 80, 100, 200);
  options.worst = lines.size();
  const ValidationReport r = report_of(lines, options);
  RC_ASSERT(r.usable == lines.size());
  std::multiset<std::string> shapes;
  for (const WorstRow& w : r.worst) shapes.insert(w.shape);
  for (const std::string& shape : shapes) RC_ASSERT(shapes.count(shape) == 2U);
  // A binomial share of 400 shapes: five standard deviations, in rows of which each shape has two.
  const double share = static_cast<double>(options.sample) / static_cast<double>(lines.size());
  RC_ASSERT(std::abs(static_cast<double>(r.used.rows) - static_cast<double>(options.sample)) <=
            2 * 5 * std::sqrt(400 * share * (1 - share)));
}

TEST(ValidateJson, IsJsonWhateverBytesTheTableHolds) {
  std::vector<MeasurementTable> tables;
  tables.push_back(MeasurementTable::parse(
      "kernel_source,shape,p,latency_ms,flag\ncub\xff\\las,s\xe9,20,0.01,\nb\x01,s2,30,0.03,\n",
      "dir/t\xe4"
      "ble.csv"));
  const ValidationReport r = validate(column_kernel(), card(), tables, {});
  const auto json = nlohmann::json::parse(to_json(r));
  EXPECT_EQ(json.at("used"), 2);
  EXPECT_EQ(json.at("mape"), 50);
  ASSERT_EQ(json.at("worst").size(), 2U);
  EXPECT_EQ(json.at("worst")[0].at("ratio"), 2);
  EXPECT_EQ(json.at("worst")[0].at("line"), 2);
}

}  // namespace
}  // namespace tessera
