// What counts as good, what a mean is over, and what time is weighed with.
#include "sim/serving/metrics.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace tessera {
namespace {

constexpr std::int64_t kMs = 1'000'000'000;  // picoseconds

RequestRecord finished(std::int64_t arrival_ms, std::int64_t first_ms, std::int64_t finish_ms,
                       std::int32_t output) {
  RequestRecord r;
  r.input_tokens = 100;
  r.output_tokens = output;
  r.arrival_ps = arrival_ms * kMs;
  r.first_token_ps = first_ms * kMs;
  r.finish_ps = finish_ms * kMs;
  return r;
}

Metrics limits(double ttft_ms, double tpot_ms) {
  Metrics m;
  m.slo_ttft_ms = ttft_ms;
  m.slo_tpot_ms = tpot_ms;
  return m;
}

TEST(Metrics, LatenciesCountFromArrivalAndTpotSpansTheTokensAfterTheFirst) {
  Metrics m;
  m.finish(finished(1000, 1250, 1650, 5));
  ASSERT_EQ(m.samples.size(), 1u);
  EXPECT_DOUBLE_EQ(m.samples[0].ttft_ms, 250);
  EXPECT_DOUBLE_EQ(m.samples[0].e2el_ms, 650);
  EXPECT_DOUBLE_EQ(m.samples[0].tpot_ms, 100);  // 400 ms over the four tokens after the first
}

TEST(Metrics, AnAnswerOfOneTokenHasNoTpotAndCannotMissIt) {
  Metrics m = limits(500, 0);
  m.finish(finished(0, 400, 400, 1));
  EXPECT_TRUE(std::isnan(m.samples[0].tpot_ms));
  EXPECT_EQ(m.good, 1);
}

TEST(Metrics, ALimitIsMetByEqualityAndMissedByMore) {
  struct {
    double ttft_ms, tpot_ms;
    std::int64_t good;
  } const cases[] = {
      {250, 100, 1},      // both met to the digit
      {249.999, 100, 0},  // late
      {250, 99.999, 0},   // slow
      {249.999, 99.999, 0}, {1e9, 1e9, 1},
  };
  for (const auto& c : cases) {
    Metrics m = limits(c.ttft_ms, c.tpot_ms);
    m.finish(finished(0, 250, 650, 5));
    EXPECT_EQ(m.good, c.good) << c.ttft_ms << " ms, " << c.tpot_ms << " ms";
    EXPECT_EQ(m.completed, 1) << "a miss is completed all the same";
  }
}

TEST(Metrics, AllSequencesOfARequestAnswerItsPromptOnce) {
  Metrics m;
  m.sequences = 4;
  m.finish(finished(0, 1, 2, 30));
  EXPECT_EQ(m.input_tokens, 100);
  EXPECT_EQ(m.output_tokens, 4 * 30);
  EXPECT_EQ(m.completed, 1);
}

TEST(Metrics, TheRunEndsWithTheLatestFinishWhateverTheOrder) {
  Metrics m;
  m.finish(finished(0, 10, 900, 2));
  m.finish(finished(0, 10, 300, 2));
  EXPECT_EQ(m.last_finish_ps, 900 * kMs);
}

TEST(Metrics, EveryFinishIsHandedOnAsItIs) {
  Metrics m;
  std::vector<std::int64_t> seen;
  m.on_finish = [&seen](const RequestRecord& r) { seen.push_back(r.finish_ps / kMs); };
  m.finish(finished(0, 10, 900, 2));
  m.finish(finished(0, 10, 300, 2));
  EXPECT_EQ(seen, (std::vector<std::int64_t>{900, 300}));
}

TEST(Metrics, GapsOfOneStepCountOncePerSequence) {
  Metrics m;
  m.token_gaps(10 * kMs, 3);
  m.token_gaps(50 * kMs, 1);
  EXPECT_EQ(m.itl_ps.count(), 4);
  EXPECT_DOUBLE_EQ(m.itl_ps.mean() / kMs, (3 * 10 + 50) / 4.0);
  EXPECT_EQ(m.itl_ps.max(), 50 * kMs);
}

// Two steps: 4 blocks for 10 ps, then 1 block for 30 ps: 70 block x ps over 40 ps.
TEST(Metrics, MemoryIsWeighedWithTheTimeOfTheStepsItIsHeldFor) {
  Metrics m;
  KvUse busy;
  busy.used_blocks = 4, busy.held_slots = 64, busy.resident = 50, busy.reserved = 5, busy.external = 2;
  busy.padding = 3, busy.duplicate = 7, busy.running = 3;
  KvUse quiet;
  quiet.used_blocks = 1, quiet.held_slots = 16, quiet.resident = 9, quiet.running = 1;
  m.kv_use(busy, 10);
  m.kv_use(quiet, 30);
  EXPECT_EQ(m.step_time, 40);
  EXPECT_EQ(m.block_time, 4 * 10 + 1 * 30);
  EXPECT_EQ(m.slot_time, 64 * 10 + 16 * 30);
  EXPECT_EQ(m.resident_time, 50 * 10 + 9 * 30);
  EXPECT_EQ(m.reserved_time, 5 * 10);
  EXPECT_EQ(m.external_time, 2 * 10);
  EXPECT_EQ(m.padding_time, 3 * 10);
  EXPECT_EQ(m.duplicate_time, 7 * 10);
  EXPECT_EQ(m.running_time, 3 * 10 + 1 * 30);
  EXPECT_EQ(m.peak_blocks, 4) << "a peak is no mean";
  EXPECT_EQ(m.peak_running, 3);
}

TEST(StepTermsSum, AnOperatorIsChargedToItsPartAndToEveryBound) {
  OpTime time;
  time.total = 9, time.compute = 5, time.hbm = 7, time.l2 = 3, time.link = 2, time.launch = 1,
  time.host = 0.5;
  StepTerms terms;
  terms.charge(StepPart::moe, time);
  terms.charge(StepPart::moe, time);
  terms.charge(StepPart::head, time);
  EXPECT_EQ(terms.part[static_cast<std::size_t>(StepPart::moe)], 18);
  EXPECT_EQ(terms.part[static_cast<std::size_t>(StepPart::head)], 9);
  EXPECT_EQ(terms.part[static_cast<std::size_t>(StepPart::gemm)], 0);
  EXPECT_EQ(terms.compute, 15);
  EXPECT_EQ(terms.hbm, 21);
  EXPECT_EQ(terms.l2, 9);
  EXPECT_EQ(terms.link, 6);
  EXPECT_EQ(terms.launch, 3);
  EXPECT_EQ(terms.host, 1.5);
}

TEST(StepTermsSum, EqualStepsAddUpAsManyTimes) {
  StepTerms step;
  step.part[0] = 2, step.hbm = 3, step.hbm_bytes = 4, step.link_bytes = 5;
  step.cascade_steps = 1, step.cascade_saved_bytes = 6;
  StepTerms sum;
  sum.add(step, 10);
  sum.add(step, 1);
  EXPECT_EQ(sum.part[0], 22);
  EXPECT_EQ(sum.hbm, 33);
  EXPECT_EQ(sum.hbm_bytes, 44);
  EXPECT_EQ(sum.link_bytes, 55);
  EXPECT_EQ(sum.cascade_steps, 11);
  EXPECT_EQ(sum.cascade_saved_bytes, 66);
}

TEST(StepTermsSum, OneOperatorOutOfRangeMarksItsStepAndTheSum) {
  OpTime outside;
  outside.in_range = false;
  StepTerms step;
  step.charge(StepPart::gemm, {});
  EXPECT_TRUE(step.in_range);
  step.charge(StepPart::gemm, outside);
  step.charge(StepPart::gemm, {});
  EXPECT_FALSE(step.in_range) << "an operator in range does not make good for it";
  Metrics m;
  m.step_terms({}, 5);
  EXPECT_EQ(m.out_of_range_steps, 0);
  m.step_terms(step, 3);
  EXPECT_EQ(m.out_of_range_steps, 3);
  EXPECT_FALSE(m.terms.in_range);
}

TEST(StepTermsSum, EveryPartHasANameOfItsOwn) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < kStepParts; ++i) names.insert(name_of(static_cast<StepPart>(i)));
  EXPECT_EQ(names.size(), kStepParts);
  EXPECT_FALSE(names.contains("?"));
}

}  // namespace
}  // namespace tessera
