#include "sim/report/latency_stats.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "sim/engine/percentile.hpp"

namespace tessera {
namespace {

constexpr std::array<double, 4> kQuantiles{0.5, 0.9, 0.95, 0.99};

LatencyStats stats_of(std::vector<double>& values) {
  LatencyStats stats;
  double sum = 0;
  for (const double v : values) sum += v;
  stats.mean =
      values.empty() ? std::numeric_limits<double>::quiet_NaN() : sum / static_cast<double>(values.size());
  const std::vector<double> p = percentiles(std::span<double>(values), std::span<const double>(kQuantiles));
  stats.p50 = p[0], stats.p90 = p[1], stats.p95 = p[2], stats.p99 = p[3];
  return stats;
}

}  // namespace

RunLatency latency_of(const Metrics& metrics) {
  RunLatency latency;
  std::vector<double> values;
  values.reserve(metrics.samples.size());
  const auto gather = [&](double Metrics::Sample::*field) {
    values.clear();
    for (const Metrics::Sample& sample : metrics.samples)
      if (!std::isnan(sample.*field)) values.push_back(sample.*field);
    return stats_of(values);
  };
  latency.ttft = gather(&Metrics::Sample::ttft_ms);
  latency.tpot = gather(&Metrics::Sample::tpot_ms);
  latency.e2el = gather(&Metrics::Sample::e2el_ms);
  constexpr double kMsPerPs = 1e-9;
  const Histogram& gaps = metrics.itl_ps;
  latency.itl = {gaps.mean() * kMsPerPs, gaps.percentile(0.5) * kMsPerPs, gaps.percentile(0.9) * kMsPerPs,
                 gaps.percentile(0.95) * kMsPerPs, gaps.percentile(0.99) * kMsPerPs};
  return latency;
}

}  // namespace tessera
