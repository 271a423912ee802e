// One HBM channel against a cycle-accurate reference: Ramulator 2.1, FR-FCFS that prefers row hits, open
// page, all-bank refresh, 32-byte reads, queues of 64 (HBM2) and 128 (HBM3). Bandwidths in percent of the
// channel's peak; budgets are 3 points and, for latencies, 5 %.
#include <gtest/gtest.h>

#include "sim/memory/hbm/run.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kRequests = 400'000;

struct Reference {
  const char* memory;
  double stream, stream_without_refresh, sequential, random;
  double random_latency_ns, unloaded_ns;
};
const Reference kReferences[] = {
    {"hbm2-2.0", 94.4, 100.0, 84.9, 31.8, 232, 42.8},
    {"hbm3-6.4", 91.2, 99.6, 85.0, 30.1, 300, 44.7},
};

class HbmReference : public ::testing::TestWithParam<Reference> {
 protected:
  const HbmSpec spec = load_hbm(GetParam().memory);
  const HbmShape shape{spec};
  template <class Pattern>
  HbmFigures saturated(const Pattern& pattern, bool refresh = true) const {
    HbmChannel channel(spec, refresh);
    return figures_of(spec, run_saturated(channel, pattern, kRequests));
  }
};
INSTANTIATE_TEST_SUITE_P(Ramulator, HbmReference, ::testing::ValuesIn(kReferences),
                         [](const auto& reference) {
                           return std::string(reference.param.memory).substr(0, 4);
                         });

TEST_P(HbmReference, Streaming) {
  EXPECT_NEAR(saturated(HbmStream(shape)).percent_of_peak, GetParam().stream, 3);
  EXPECT_NEAR(saturated(HbmStream(shape), false).percent_of_peak, GetParam().stream_without_refresh, 3);
}

TEST_P(HbmReference, Sequential) {
  EXPECT_NEAR(saturated(HbmSequential(shape)).percent_of_peak, GetParam().sequential, 3);
}

TEST_P(HbmReference, Random) {
  const HbmFigures random = saturated(HbmRandom(shape, 1));
  EXPECT_NEAR(random.percent_of_peak, GetParam().random, 3);
  EXPECT_NEAR(random.mean_latency_ns, GetParam().random_latency_ns, 0.05 * GetParam().random_latency_ns);
}

// Dependent reads at random: the bank mostly has another row open, sometimes a refresh has closed it or is
// under way.
TEST_P(HbmReference, Unloaded) {
  HbmChannel channel(spec);
  const double ns = figures_of(spec, run_chain(channel, HbmRandom(shape, 1), 50'000)).mean_latency_ns;
  EXPECT_NEAR(ns, GetParam().unloaded_ns, 0.05 * GetParam().unloaded_ns);
}

TEST_P(HbmReference, SeedsAgree) {
  const double one = saturated(HbmRandom(shape, 1)).percent_of_peak;
  EXPECT_NEAR(saturated(HbmRandom(shape, 2)).percent_of_peak, one, 0.3);
}

}  // namespace
}  // namespace tessera
