// How well rows determine the parameters of a fit: intervals, what the rows say, which cannot be told apart.
#pragma once

#include "validation/fit.hpp"

namespace tessera {

struct Inseparable {
  std::string a, b;
  double correlation = 0;  // of their errors: near 1 in size, so that only a combination is determined
};

struct Uncertainty {
  std::vector<double> low, high;  // 95 % interval of each parameter, inside its range
  // 0: the rows say everything about it, 1: nothing beyond its range (standard deviation after / before).
  std::vector<double> unknown;
  std::vector<Inseparable> inseparable;  // strongest first
};

// At the values a fit found. Equations: uncertainty.cpp. Deterministic; about 4 evaluations a parameter.
Uncertainty uncertainty_of(const std::vector<Parameter>& parameters, const std::vector<double>& values,
                           std::size_t residual_count, const Residuals& residuals,
                           const FitOptions& options = {});

}  // namespace tessera
