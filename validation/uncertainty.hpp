// How well rows determine the parameters of a fit: intervals, what the rows say, which cannot be told apart.
#pragma once

#include "validation/fit.hpp"

namespace tessera {

struct Inseparable {
  std::string a, b;
  double correlation = 0;  // of their errors: near 1 in size, so that only a combination is determined
};

struct Uncertainty {
  // Intervals inside the ranges: 95 % that all of them hold.
  std::vector<double> low, high;
  // 0: the rows say everything about it, 1: nothing beyond its range (standard deviation after / before).
  std::vector<double> unknown;
  std::vector<Inseparable> inseparable;  // strongest first
};

// Half of an interval in standard deviations of its parameter, so that `intervals` of them all hold at 95 %.
double interval_factor(std::size_t intervals, double freedom);

// At the values a fit found. Equations: uncertainty.cpp. Deterministic; about 4 evaluations a parameter.
Uncertainty uncertainty_of(const std::vector<Parameter>& parameters, const std::vector<double>& values,
                           std::size_t residual_count, const Residuals& residuals,
                           const FitOptions& options = {});

}  // namespace tessera
