// SHARDS against the exact curve: equal at rate 1, near it below, bounded in memory.
#include "sim/memory/sampled_curve.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "sim/memory/miss_ratio_curve.hpp"
#include "traces/zipf.hpp"

namespace tessera {
namespace {

const DenseTrace& skewed() {
  static const DenseTrace trace = [] {
    ZipfSpec spec;
    spec.requests = 300'000;
    spec.objects = 100'000;
    spec.alpha = 0.7;
    ZipfKeys keys(spec);
    DenseTrace made;
    for (std::int64_t i = 0; i < spec.requests; ++i) made.add_key(keys.next());
    return made;
  }();
  return trace;
}
const MissRatioCurve& exact() {
  static const MissRatioCurve curve(skewed());
  return curve;
}

// Mean over capacities equally far apart, as the paper states errors.
double mean_error(const SampledCurve& sampled) {
  double sum = 0;
  for (std::uint32_t i = 1; i <= 50; ++i) {
    const std::uint32_t blocks = exact().saturation() / 50 * i;
    const double misses =
        1 - static_cast<double>(exact().hits(blocks)) / static_cast<double>(exact().references());
    sum += std::abs(sampled.miss_ratio(blocks) - misses);
  }
  return sum / 50;
}

TEST(SampledCurve, IsExactWhereEveryKeyIsSampled) {
  const SampledCurve all = SampledCurve::fixed_rate(skewed(), 1);
  const SampledCurve roomy = SampledCurve::fixed_size(skewed(), skewed().distinct());
  EXPECT_EQ(all.sampled_keys(), skewed().distinct());
  for (std::uint32_t blocks = 1; blocks <= skewed().distinct(); blocks += 997) {
    const double misses =
        1 - static_cast<double>(exact().hits(blocks)) / static_cast<double>(exact().references());
    EXPECT_NEAR(all.miss_ratio(blocks), misses, 1e-9) << blocks;
    EXPECT_NEAR(roomy.miss_ratio(blocks), misses, 1e-9) << blocks;
  }
}

TEST(SampledCurve, AtAFixedRateSamplesThatShareOfTheKeysAndErrsLittle) {
  const SampledCurve tenth = SampledCurve::fixed_rate(skewed(), 0.1);
  const double expected = 0.1 * skewed().distinct();
  EXPECT_NEAR(static_cast<double>(tenth.sampled_keys()), expected, 5 * std::sqrt(expected));
  EXPECT_EQ(tenth.rate(), 0.1);
  EXPECT_LT(mean_error(tenth), 0.01);
}

TEST(SampledCurve, AtAFixedSizeNeverTracksMoreKeysAndErrsLittle) {
  const SampledCurve bounded = SampledCurve::fixed_size(skewed(), 4'096);
  EXPECT_EQ(bounded.sampled_keys(), 4'096u);
  EXPECT_NEAR(bounded.rate(), 4'096.0 / skewed().distinct(), 0.1 * bounded.rate());
  EXPECT_LT(mean_error(bounded), 0.02);
}

TEST(SampledCurve, MoreCapacityNeverMissesMore) {
  const SampledCurve sampled = SampledCurve::fixed_size(skewed(), 500);
  double before = 1;
  for (std::uint32_t blocks = 0; blocks < skewed().distinct(); blocks += 100) {
    EXPECT_LE(sampled.miss_ratio(blocks), before) << blocks;
    before = sampled.miss_ratio(blocks);
  }
}

TEST(SampledCurve, ASeedNamesOneSample) {
  const double one = SampledCurve::fixed_rate(skewed(), 0.01, 1).miss_ratio(5'000);
  EXPECT_EQ(one, SampledCurve::fixed_rate(skewed(), 0.01, 1).miss_ratio(5'000));
  EXPECT_NE(one, SampledCurve::fixed_rate(skewed(), 0.01, 2).miss_ratio(5'000));
}

TEST(SampledCurve, OfAnEmptyTraceIsFlat) {
  EXPECT_EQ(SampledCurve::fixed_size(DenseTrace{}, 10).miss_ratio(3), 0);
}

}  // namespace
}  // namespace tessera
