// Fitting parameters where they live: pointers into a Gpu's kernel behaviour with the range that is
// plausible.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "validation/fit.hpp"

namespace tessera {

struct Knob {
  const char* name;
  double* value;  // holds the start, then the fitted value
  double low, high;
  Scale scale = Scale::log;
};

// Sets every knob to the values that make predict_us(i) fit measured_us[i] best in log ratio.
// Returns the names of the knobs left at a bound.
std::vector<std::string> fit_knobs(const std::vector<Knob>& knobs, std::span<const double> measured_us,
                                   const std::function<double(std::size_t)>& predict_us,
                                   const FitOptions& options);

}  // namespace tessera
