#include "validation/statistics.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"

namespace tessera {

double quantile(std::vector<double> values, double q) {
  TESSERA_CHECK(!values.empty() && q >= 0 && q <= 1, "a quantile of something");
  const double rank = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(rank);
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin(), nth, values.end());
  const double low = *nth;
  if (below + 1 == values.size()) return low;
  const double high = *std::min_element(nth + 1, values.end());
  return low + (rank - static_cast<double>(below)) * (high - low);
}

ErrorSummary summarise(std::span<const double> ratios) {
  ErrorSummary s;
  s.rows = ratios.size();
  if (ratios.empty()) return s;
  std::vector<double> errors;
  errors.reserve(ratios.size());
  for (const double ratio : ratios) {
    errors.push_back(100 * std::abs(ratio - 1));
    s.mape += errors.back();
    s.bias += 100 * (ratio - 1);
  }
  s.mape /= static_cast<double>(s.rows);
  s.bias /= static_cast<double>(s.rows);
  s.median_ape = quantile(errors, 0.5);
  s.p90_ape = quantile(std::move(errors), 0.9);
  return s;
}

std::map<std::string, ErrorSummary> GroupedErrors::summaries() const {
  std::map<std::string, ErrorSummary> result;
  for (const auto& [group, ratios] : ratios_) result[group] = summarise(ratios);
  return result;
}

}  // namespace tessera
