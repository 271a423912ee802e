// Bounded robust least squares for a dozen physical parameters. Equations: fit.cpp. Deterministic.
//
//   const std::vector<Parameter> parameters = {{"floor_us", 2.5, 1, 6, Scale::log}, ...};
//   const FitResult best = fit(parameters, rows.size(), [&](std::span<const double> p, std::span<double> r) {
//     for (std::size_t i = 0; i < rows.size(); ++i) r[i] = std::log(predict(p, rows[i]) / measured[i]);
//   });
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace tessera {

enum class Scale { linear, log };

struct Parameter {
  std::string name;
  double start;
  double low, high;  // low < start < high is best; a start on a bound is moved just inside
  Scale scale = Scale::linear;
  // Standard deviation of what is known beforehand about the parameter, around its start: of its logarithm
  // where the scale is log. 0: nothing beyond its range.
  double prior_sd = 0;

  // The coordinate in which it is near normal: the value or its logarithm.
  [[nodiscard]] double coordinate(double value) const;
  [[nodiscard]] double value_at(double coordinate) const;
  [[nodiscard]] double width() const { return coordinate(high) - coordinate(low); }
};

using Residuals = std::function<void(std::span<const double> values, std::span<double> residuals)>;

struct FitOptions {
  int iterations = 40;            // Levenberg-Marquardt steps per start
  int restarts = 0;               // further starts, spread evenly over the box
  double robust_width = 0.1;      // soft-L1: residuals beyond this count linearly; 0: plain squares
  bool coordinate_polish = true;  // pattern search afterwards: minima of min() and ceil() are not smooth
};

struct FitResult {
  std::vector<double> values;
  double cost = 0;  // mean robust loss
  int evaluations = 0;
  std::vector<std::string>
      at_bound;  // parameters within 1 % of the box from a bound: not determined by the data
};

FitResult fit(const std::vector<Parameter>& parameters, std::size_t residual_count,
              const Residuals& residuals, const FitOptions& options = {});

}  // namespace tessera
