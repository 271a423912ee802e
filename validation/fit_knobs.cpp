#include "validation/fit_knobs.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

namespace tessera {
namespace {

// More digits than a fit determines would only make the files unreadable.
double four_digits(double value) { return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr); }

}  // namespace

std::vector<std::string> fit_knobs(const std::vector<Knob>& knobs, std::span<const double> measured_us,
                                   const std::function<double(std::size_t)>& predict_us,
                                   const FitOptions& options) {
  std::vector<Parameter> parameters;
  for (const Knob& knob : knobs)
    parameters.push_back({knob.name, *knob.value, knob.low, knob.high, knob.scale});
  const auto set = [&](std::span<const double> values) {
    for (std::size_t i = 0; i < knobs.size(); ++i) *knobs[i].value = values[i];
  };
  const FitResult best = fit(
      parameters, measured_us.size(),
      [&](std::span<const double> values, std::span<double> residuals) {
        set(values);
        for (std::size_t i = 0; i < residuals.size(); ++i)
          residuals[i] = std::log(predict_us(i) / measured_us[i]);
      },
      options);
  for (std::size_t i = 0; i < knobs.size(); ++i) *knobs[i].value = four_digits(best.values[i]);
  return best.at_bound;
}

}  // namespace tessera
