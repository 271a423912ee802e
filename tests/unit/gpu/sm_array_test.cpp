// CTAs on SMs: dispatch, residency, shared bandwidth.
#include "sim/gpu/sm_array.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace tessera {
namespace {

constexpr double kUs = 1e6;

SmArraySpec spec(std::int64_t sms, int per_sm) {
  SmArraySpec s;
  s.sms = sms, s.ctas_per_sm = per_sm;
  s.hbm_bytes_per_ps = 3, s.l2_bytes_per_ps = 6;
  return s;
}

ArrayResult play(const SmArraySpec& s, std::int64_t ctas, const CtaRun& run,
                 std::vector<CtaSpan>* spans = nullptr) {
  SmArray array;
  array.spans = spans;
  return array.run(s, ctas, [&](std::int64_t, double) { return run; });
}

CtaRun compute_only(double us) {
  CtaRun run;
  run.alone = run.compute = us * kUs;
  return run;
}

TEST(SmArray, OneCtaTakesPrologueLoopAndFixedPart) {
  SmArraySpec s = spec(4, 1);
  s.prologue_ps = 2 * kUs;
  CtaRun run = compute_only(5);
  run.fixed = 1 * kUs;
  EXPECT_EQ(play(s, 1, run).time_ps, 8 * kUs);
}

TEST(SmArray, WholeWavesFollowEachOther) {
  EXPECT_EQ(play(spec(4, 1), 4, compute_only(5)).time_ps, 5 * kUs);
  EXPECT_EQ(play(spec(4, 1), 5, compute_only(5)).time_ps, 10 * kUs);
  EXPECT_EQ(play(spec(4, 1), 8, compute_only(5)).time_ps, 10 * kUs);
}

TEST(SmArray, APrologueHidesBehindTheCtaBeforeButNotInTheFirstWave) {
  SmArraySpec s = spec(1, 1);
  s.prologue_ps = 2 * kUs;
  CtaRun run = compute_only(5);
  run.hidden = 1.5 * kUs;
  EXPECT_EQ(play(s, 1, run).time_ps, 7 * kUs);
  EXPECT_EQ(play(s, 3, run).time_ps, (7 + 5.5 + 5.5) * kUs);
  EXPECT_EQ(SmArray().run_equal(s, 3, run).time_ps, play(s, 3, run).time_ps);
}

TEST(SmArray, ResidentsShareTheComputeOfTheirSm) {
  EXPECT_EQ(play(spec(1, 2), 2, compute_only(5)).time_ps, 10 * kUs);
  CtaRun waits = compute_only(5);
  waits.alone = 12 * kUs;  // mostly latency: two fit beside each other
  EXPECT_EQ(play(spec(1, 2), 2, waits).time_ps, 12 * kUs);
}

TEST(SmArray, ACtaSpeedsUpWhenItsNeighbourLeaves) {
  SmArray array;
  const auto time =
      array.run(spec(1, 2), 2, [](std::int64_t cta, double) { return compute_only(cta == 0 ? 5 : 9); });
  EXPECT_EQ(time.time_ps, 14 * kUs) << "shared until both have done 5, then 4 alone";
}

TEST(SmArray, SmsFillBreadthFirst) {
  std::vector<CtaSpan> spans;
  play(spec(4, 2), 6, compute_only(1), &spans);
  std::vector<int> per_sm(4);
  for (const CtaSpan& span : spans) ++per_sm[static_cast<std::size_t>(span.sm)];
  EXPECT_EQ(per_sm, (std::vector<int>{2, 2, 1, 1}));
}

TEST(SmArray, BandwidthIsNeverExceeded) {
  for (const double bytes : {1e5, 1e6, 1e7}) {
    CtaRun run = compute_only(1);
    run.hbm_bytes = bytes;
    const ArrayResult r = play(spec(100, 1), 500, run);
    EXPECT_GE(static_cast<double>(r.time_ps), 500 * bytes / 3) << bytes;
    EXPECT_GE(static_cast<double>(r.time_ps), 5 * kUs) << bytes;
  }
}

TEST(SmArray, FarFromItsLimitBandwidthCostsNothingMuchBeyondItEverything) {
  CtaRun run = compute_only(1);
  run.hbm_bytes = 3e3;  // 100 of them want 0.3 of 3 bytes per ps
  EXPECT_NEAR(static_cast<double>(play(spec(100, 1), 100, run).time_ps), kUs, 0.01 * kUs);
  run.hbm_bytes = 3e5;  // ten times the bandwidth
  EXPECT_NEAR(static_cast<double>(play(spec(100, 1), 100, run).time_ps), 10 * kUs, 0.01 * kUs);
}

// Independent list scheduling: each CTA in turn to the slot that is free first.
TEST(SmArray, UnequalCtasAreListScheduled) {
  const auto length = [](std::int64_t cta) { return static_cast<double>(1 + cta * 7 % 13); };
  for (const std::int64_t ctas : {3, 17, 200}) {
    SmArray array;
    const auto r =
        array.run(spec(8, 1), ctas, [&](std::int64_t cta, double) { return compute_only(length(cta)); });
    std::vector<double> free_at(8, 0);
    for (std::int64_t cta = 0; cta < ctas; ++cta) {
      const auto slot = std::min_element(free_at.begin(), free_at.end());
      *slot += length(cta);
    }
    EXPECT_NEAR(static_cast<double>(r.time_ps), *std::max_element(free_at.begin(), free_at.end()) * kUs, 10);
  }
}

TEST(SmArray, PersistentSlotsKeepTheirStride) {
  SmArraySpec s = spec(4, 1);
  s.order = CtaOrder::persistent;
  SmArray array;
  std::vector<CtaSpan> spans;
  array.spans = &spans;
  // Every fourth CTA is long: one slot gets them all.
  const auto r =
      array.run(s, 12, [](std::int64_t cta, double) { return compute_only(cta % 4 == 0 ? 10 : 1); });
  EXPECT_EQ(r.time_ps, 30 * kUs);
  for (const CtaSpan& span : spans) EXPECT_EQ(span.sm, span.cta % 4);
}

TEST(SmArray, EqualCtasInClosedFormAgreeWithTheEvents) {
  for (const std::int64_t ctas : {1, 7, 16, 17, 40, 64, 1000}) {
    for (const int per_sm : {1, 2, 3}) {
      SmArraySpec s = spec(16, per_sm);
      s.prologue_ps = 1.5 * kUs;
      CtaRun run = compute_only(4);
      run.alone = 6 * kUs, run.fixed = 0.5 * kUs;
      run.hbm_bytes = 4e5, run.l2_bytes = 9e5, run.passed = 4e5;
      const ArrayResult events = play(s, ctas, run);
      SmArray array;
      const ArrayResult leap = array.run_equal(s, ctas, run);
      EXPECT_NEAR(static_cast<double>(leap.time_ps), static_cast<double>(events.time_ps),
                  1e-6 * static_cast<double>(events.time_ps) + 100)
          << ctas << " on " << per_sm;
      EXPECT_NEAR(leap.passed, events.passed, 1e-5 * events.passed);
      EXPECT_LE(leap.events, events.events);
    }
  }
}

TEST(SmArray, IdleCtasSkipThePrologue) {
  SmArraySpec s = spec(2, 1);
  s.prologue_ps = 5 * kUs;
  CtaRun idle;
  idle.idle = true, idle.fixed = 0.25 * kUs;
  EXPECT_EQ(play(s, 4, idle).time_ps, 0.5 * kUs);
}

TEST(SmArray, APartialWaveMaySpreadOverIdleSms) {
  SmArraySpec s = spec(10, 1);
  s.wave_quantisation = 0;
  EXPECT_NEAR(static_cast<double>(play(s, 15, compute_only(8)).time_ps), 12 * kUs, 100)
      << "half a wave, half the time";
  s.wave_quantisation = 1;
  EXPECT_EQ(play(s, 15, compute_only(8)).time_ps, 16 * kUs);
  s.wave_quantisation = 0;
  EXPECT_EQ(play(s, 5, compute_only(8)).time_ps, 8 * kUs) << "nothing to spread in the first wave";
}

TEST(SmArray, IsDeterministic) {
  const auto once = [] {
    SmArray array;
    return array.run(spec(13, 2), 300, [](std::int64_t cta, double) {
      CtaRun run = compute_only(1 + static_cast<double>(cta % 9));
      run.hbm_bytes = 1e5 * static_cast<double>(cta % 4);
      return run;
    });
  };
  EXPECT_EQ(once().time_ps, once().time_ps);
  EXPECT_EQ(once().events, once().events);
}

}  // namespace
}  // namespace tessera
