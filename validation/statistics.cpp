#include "validation/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

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

ErrorSummary summarise(std::span<const Prediction> predictions) {
  std::vector<double> ratios;
  ratios.reserve(predictions.size());
  for (const Prediction& p : predictions) ratios.push_back(p.ratio());
  ErrorSummary s = summarise(ratios);
  s.rank_correlation = rank_correlation(predictions);
  return s;
}

namespace {

// Ranks from 0; equal values share the mean of theirs.
std::vector<double> ranks_of(std::span<const Prediction> predictions, double Prediction::*side) {
  std::vector<std::size_t> order(predictions.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return predictions[a].*side < predictions[b].*side; });
  std::vector<double> ranks(order.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && predictions[order[end]].*side == predictions[order[begin]].*side) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + end - 1) / 2;
  }
  return ranks;
}

}  // namespace

double rank_correlation(std::span<const Prediction> predictions) {
  const std::vector<double> a = ranks_of(predictions, &Prediction::predicted_us);
  const std::vector<double> b = ranks_of(predictions, &Prediction::measured_us);
  const double mean = (static_cast<double>(predictions.size()) - 1) / 2;
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean) * (b[i] - mean);
    aa += (a[i] - mean) * (a[i] - mean);
    bb += (b[i] - mean) * (b[i] - mean);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

std::map<std::string, ErrorSummary> GroupedErrors::summaries() const {
  std::map<std::string, ErrorSummary> result;
  for (const auto& [group, predictions] : groups_) result[group] = summarise(predictions);
  return result;
}

}  // namespace tessera
