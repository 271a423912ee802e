// Exact percentiles with linear interpolation between the two samples around the rank
// h = (n - 1) q: the default of NumPy and type 7 of Hyndman and Fan (The American Statistician
// 50(4), 1996). Selects instead of sorting: O(n) a percentile; samples are reordered, not copied.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <stdexcept>
#include <vector>

namespace tessera {

// One result for each q of `quantiles`, which must ascend within [0, 1]; NaN without samples.
template <class T>
std::vector<double> percentiles(std::span<T> samples, std::span<const double> quantiles) {
  std::vector<double> results;
  results.reserve(quantiles.size());
  auto from = samples.begin();  // everything before it is no larger than everything from it on
  double last = 0;
  for (const double q : quantiles) {
    if (!(q >= last && q <= 1)) throw std::logic_error("percentiles: quantiles must ascend within [0, 1]");
    last = q;
    if (samples.empty()) {
      results.push_back(std::numeric_limits<double>::quiet_NaN());
      continue;
    }
    const double rank = static_cast<double>(samples.size() - 1) * q;
    const double whole = std::floor(rank);
    const auto lower = samples.begin() + static_cast<std::ptrdiff_t>(whole);
    std::nth_element(from, lower, samples.end());
    from = lower;
    const auto low = static_cast<double>(*lower);
    const double fraction = rank - whole;
    if (fraction == 0) {
      results.push_back(low);
      continue;
    }
    const auto high = static_cast<double>(*std::min_element(lower + 1, samples.end()));
    results.push_back(low + (high - low) * fraction);
  }
  return results;
}

template <class T>
double percentile(std::span<T> samples, double q) {
  const double quantiles[] = {q};
  return percentiles(samples, std::span<const double>(quantiles)).front();
}

}  // namespace tessera
