// Mean and percentiles of a run's latencies, in ms; NaN where there is no sample.
#pragma once

#include "sim/serving/metrics.hpp"

namespace tessera {

struct LatencyStats {
  double mean = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0;
};

struct RunLatency {
  LatencyStats ttft, tpot, itl, e2el;
};

RunLatency latency_of(const Metrics& metrics);

}  // namespace tessera
