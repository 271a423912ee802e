#include "validation/fit_knobs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace tessera {
namespace {

constexpr double kPriorLogSd = 0.3;     // see FitControl::prior
constexpr double kPriorRangeSd = 0.25;  // of the range, linear parameters
constexpr int kLightIterations = 8;
// So many rows suffice to find the right valley; all rows then find its floor.
constexpr std::size_t kCoarseRows = 600;

// More digits than a fit determines would only make the files unreadable.
double four_digits(double value) { return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr); }

Parameter parameter_of(const Knob& knob, bool prior) {
  Parameter p{knob.name, *knob.value, knob.low, knob.high, knob.scale, 0};
  if (prior && (p.start < p.low || p.start > p.high)) {
    // Not a figure of this kind of kernel (0: the other card's has no such part): nothing is known.
    p.start = p.value_at((p.coordinate(p.low) + p.coordinate(p.high)) / 2);
  } else if (prior) {
    p.prior_sd = knob.scale == Scale::log ? kPriorLogSd : kPriorRangeSd * (knob.high - knob.low);
  }
  return p;
}

}  // namespace

std::vector<std::string> KernelFit::at_bound() const {
  std::vector<std::string> names;
  for (const FittedParameter& p : parameters)
    if (p.at_bound) names.push_back(p.name);
  return names;
}

bool KernelFit::in_pair(const std::string& name) const {
  return std::any_of(inseparable.begin(), inseparable.end(),
                     [&](const Inseparable& pair) { return pair.a == name || pair.b == name; });
}

void KernelFit::append(const KernelFit& other, const std::string& prefix) {
  for (FittedParameter p : other.parameters) {
    p.name = prefix + p.name;
    parameters.push_back(std::move(p));
  }
  rows += other.rows;
  for (const Inseparable& pair : other.inseparable)
    inseparable.push_back({prefix + pair.a, prefix + pair.b, pair.correlation});
}

KernelFit fit_knobs(const std::vector<Knob>& knobs, std::span<const double> measured_us,
                    const std::function<double(std::size_t)>& predict_us, FitOptions options,
                    const FitControl& control) {
  std::vector<Parameter> parameters;
  for (const Knob& knob : knobs) parameters.push_back(parameter_of(knob, control.prior));
  const auto set = [&](std::span<const double> values) {
    for (std::size_t i = 0; i < knobs.size(); ++i) *knobs[i].value = values[i];
  };
  const auto every = [&](std::size_t stride) -> Residuals {
    return [&, stride](std::span<const double> values, std::span<double> out) {
      set(values);
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = std::log(predict_us(i * stride) / measured_us[i * stride]);
    };
  };
  const Residuals residuals = every(1);
  if (control.prior) options.restarts = 0;  // the prior knows where to start
  if (control.light) {
    options.iterations = std::min(options.iterations, kLightIterations);
    options.restarts = 0;
    options.coordinate_polish = false;
  }
  const std::size_t stride = measured_us.size() / kCoarseRows;
  if (!control.prior && !control.light && stride > 1) {
    const FitResult coarse = fit(parameters, measured_us.size() / stride, every(stride), options);
    for (std::size_t i = 0; i < knobs.size(); ++i) parameters[i].start = coarse.values[i];
    options.restarts = 0;
  }
  const FitResult best = fit(parameters, measured_us.size(), residuals, options);
  KernelFit result;
  result.rows = measured_us.size();
  for (std::size_t i = 0; i < knobs.size(); ++i) {
    const bool held =
        std::find(best.at_bound.begin(), best.at_bound.end(), knobs[i].name) != best.at_bound.end();
    result.parameters.push_back({knobs[i].name, four_digits(best.values[i]), 0, 0, 0, held});
  }
  if (!control.light) {
    Uncertainty u = uncertainty_of(parameters, best.values, measured_us.size(), residuals, options);
    for (std::size_t i = 0; i < knobs.size(); ++i) {
      FittedParameter& p = result.parameters[i];
      p.low = four_digits(u.low[i]), p.high = four_digits(u.high[i]), p.unknown = u.unknown[i];
    }
    result.inseparable = std::move(u.inseparable);
  }
  for (std::size_t i = 0; i < knobs.size(); ++i) *knobs[i].value = result.parameters[i].value;
  return result;
}

}  // namespace tessera
