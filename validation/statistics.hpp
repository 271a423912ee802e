// How far predictions are from measurements, in percent.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

namespace tessera {

struct ErrorSummary {
  std::size_t rows = 0;
  double mape = 0;        // mean |predicted / measured - 1|
  double median_ape = 0;  // its median
  double p90_ape = 0;     // its 90th percentile, linear between ranks
  double bias = 0;        // mean (predicted / measured - 1): positive when predicted too slow
};

// Of predicted / measured ratios; all zero without rows.
ErrorSummary summarise(std::span<const double> ratios);

// Quantile q in [0, 1] of unsorted values, linear between ranks. Needs at least one value.
double quantile(std::vector<double> values, double q);

// Ratios collected under a name each; summaries come sorted by name.
class GroupedErrors {
 public:
  void add(const std::string& group, double ratio) { ratios_[group].push_back(ratio); }
  [[nodiscard]] std::map<std::string, ErrorSummary> summaries() const;

 private:
  std::map<std::string, std::vector<double>> ratios_;
};

}  // namespace tessera
