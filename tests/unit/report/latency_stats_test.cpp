// Latencies of a run: TTFT and E2EL from arrival, TPOT over the tokens after the first, ITL pooled.
#include "sim/report/latency_stats.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera {
namespace {

constexpr std::int64_t kMs = 1'000'000'000;  // in ps

RequestRecord request(std::int64_t arrival_ms, std::int64_t first_ms, std::int64_t finish_ms,
                      std::int32_t output) {
  RequestRecord r;
  r.input_tokens = 10;
  r.output_tokens = output;
  r.arrival_ps = arrival_ms * kMs;
  r.first_token_ps = first_ms * kMs;
  r.finish_ps = finish_ms * kMs;
  return r;
}

TEST(LatencyStats, CountFromArrivalAndInterpolateBetweenSamples) {
  Metrics metrics;
  // TTFT 10, 20, 30, 40, 50; TPOT 1, 2, 3, 4, 5 over 11 tokens.
  for (std::int64_t i = 1; i <= 5; ++i) metrics.finish(request(100 * i, 110 * i, 120 * i, 11));
  const RunLatency latency = latency_of(metrics);
  EXPECT_DOUBLE_EQ(latency.ttft.mean, 30);
  EXPECT_DOUBLE_EQ(latency.ttft.p50, 30);
  EXPECT_DOUBLE_EQ(latency.ttft.p90, 46);  // rank 3.6 of 0..4: 40 + 0.6 x 10
  EXPECT_DOUBLE_EQ(latency.ttft.p95, 48);
  EXPECT_DOUBLE_EQ(latency.ttft.p99, 49.6);
  EXPECT_DOUBLE_EQ(latency.tpot.mean, 3);
  EXPECT_DOUBLE_EQ(latency.tpot.p90, 4.6);
  EXPECT_DOUBLE_EQ(latency.e2el.mean, 60);
  EXPECT_DOUBLE_EQ(latency.e2el.p99, 99.2);
}

TEST(LatencyStats, OneTokenAnswersHaveNoTimePerToken) {
  Metrics metrics;
  metrics.finish(request(0, 10, 10, 1));
  metrics.finish(request(0, 10, 30, 5));
  const RunLatency latency = latency_of(metrics);
  EXPECT_DOUBLE_EQ(latency.tpot.mean, 5) << "of the second request alone";
  EXPECT_DOUBLE_EQ(latency.ttft.mean, 10);
  EXPECT_DOUBLE_EQ(latency.e2el.mean, 20);
}

TEST(LatencyStats, WithoutSamplesThereIsNoNumber) {
  const RunLatency latency = latency_of(Metrics{});
  for (const LatencyStats& s : {latency.ttft, latency.tpot, latency.itl, latency.e2el})
    for (const double v : {s.mean, s.p50, s.p90, s.p95, s.p99}) EXPECT_TRUE(std::isnan(v));
}

TEST(LatencyStats, GapsBetweenTokensArePooledOverRequests) {
  Metrics metrics;
  metrics.token_gaps(10 * kMs, 99);
  metrics.token_gaps(1000 * kMs, 1);
  const RunLatency latency = latency_of(metrics);
  EXPECT_DOUBLE_EQ(latency.itl.mean, (99 * 10 + 1000) / 100.0) << "the mean is exact";
  EXPECT_NEAR(latency.itl.p50, 10, 10 * 0.006);
  EXPECT_NEAR(latency.itl.p95, 10, 10 * 0.006);
  EXPECT_NEAR(latency.itl.p99, 10, 10 * 0.006) << "rank 98 of 0..99";
}

TEST(LatencyStats, GoodRequestsMeetBothLimits) {
  Metrics metrics;
  metrics.slo_ttft_ms = 20;
  metrics.slo_tpot_ms = 5;
  metrics.finish(request(0, 20, 60, 9));  // 20 and 5: both met exactly
  metrics.finish(request(0, 21, 61, 9));  // first token late
  metrics.finish(request(0, 20, 69, 9));  // tokens late
  metrics.finish(request(0, 20, 20, 1));  // one token: no TPOT to miss
  EXPECT_EQ(metrics.good, 2);
  EXPECT_EQ(metrics.completed, 4);
}

}  // namespace
}  // namespace tessera
