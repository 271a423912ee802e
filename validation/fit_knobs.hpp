// Fitting parameters where they live: pointers into a Gpu's kernel behaviour with the range that is
// plausible.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "validation/fit.hpp"
#include "validation/uncertainty.hpp"

namespace tessera {

struct Knob {
  const char* name;
  double* value;  // holds the start, then the fitted value
  double low, high;
  Scale scale = Scale::log;
};

struct FitControl {
  // The starts are another card's figures, carried over by published numbers: known to about 30 % (of a
  // linear parameter to a quarter of its range), which few rows cannot overrule where they say little.
  bool prior = false;
  // One of the fits of a cross-validation: from where the knobs stand, values alone.
  bool light = false;
};

struct FittedParameter {
  std::string name;
  double value = 0, low = 0, high = 0;  // interval: 95 % that all of the fit's hold
  double unknown = 0;                   // what the rows by themselves leave open: Uncertainty::unknown
  bool at_bound = false;
  // From here on the rows do not narrow the range enough to call the parameter measured.
  static constexpr double kUndetermined = 0.5;
  [[nodiscard]] bool determined() const { return unknown < kUndetermined || at_bound; }
};

struct KernelFit {
  std::vector<FittedParameter> parameters;
  std::vector<Inseparable> inseparable;
  std::size_t rows = 0;  // that were fitted on
  [[nodiscard]] std::vector<std::string> at_bound() const;
  [[nodiscard]] bool in_pair(const std::string& parameter) const;
  void append(const KernelFit& other, const std::string& prefix = "");
};

// Sets every knob to the values that make predict_us(i) fit measured_us[i] best in log ratio.
KernelFit fit_knobs(const std::vector<Knob>& knobs, std::span<const double> measured_us,
                    const std::function<double(std::size_t)>& predict_us, FitOptions options,
                    const FitControl& control = {});

}  // namespace tessera
