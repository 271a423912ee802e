// How far predictions are from measurements, in percent.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

namespace tessera {

struct ErrorSummary {
  std::size_t rows = 0;
  double mape = 0;              // mean |predicted / measured - 1|
  double median_ape = 0;        // its median
  double p90_ape = 0;           // its 90th percentile, linear between ranks
  double bias = 0;              // mean (predicted / measured - 1): positive when predicted too slow
  double rank_correlation = 0;  // Spearman's, of predicted with measured times; 0 of bare ratios
};

struct Prediction {
  double predicted_us, measured_us;
  [[nodiscard]] double ratio() const { return predicted_us / measured_us; }
};

// Of predicted / measured ratios; all zero without rows.
ErrorSummary summarise(std::span<const double> ratios);
ErrorSummary summarise(std::span<const Prediction> predictions);

// Spearman's rank correlation, ties sharing their mean rank: 1 when predictions order the rows as
// measurements do, 0 when either side has but one value.
double rank_correlation(std::span<const Prediction> predictions);

// Quantile q in [0, 1] of unsorted values, linear between ranks. Needs at least one value.
double quantile(std::vector<double> values, double q);

// Predictions collected under a name each; summaries come sorted by name.
class GroupedErrors {
 public:
  void add(const std::string& group, const Prediction& p) { groups_[group].push_back(p); }
  [[nodiscard]] std::map<std::string, ErrorSummary> summaries() const;

 private:
  std::map<std::string, std::vector<Prediction>> groups_;
};

}  // namespace tessera
