#include "sim/serving/replica.hpp"

#include <gtest/gtest.h>

#include <map>

namespace tessera {
namespace {

constexpr std::int64_t kMs = 1'000'000'000;  // picoseconds

// Every step takes 10 ms, whatever it runs.
class FixedCost final : public StepCost {
 public:
  StepPrice price(const StepShape& shape) override {
    shapes.push_back({shape.decodes, shape.prefill_tokens, shape.decode_kv[0], shape.sampled});
    StepPrice price;
    price.base_ps = 10 * kMs;
    price.valid_steps = 1000000;
    return price;
  }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return {}; }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return {}; }
  struct Seen {
    std::int64_t decodes, prefill_tokens, kv, sampled;
  };
  std::vector<Seen> shapes;
};

struct Engine {
  explicit Engine(ReplicaSpec spec) : replica(spec, cost, metrics) {
    metrics.on_finish = [this](const RequestRecord& record) { finished[record.row] = record; };
    metrics.on_step = [this](const StepRecord& step) { steps.push_back(step); };
  }
  std::string send(std::int64_t at_ms, std::int32_t input, std::int32_t output,
                   std::vector<std::uint64_t> hashes = {}) {
    replica.advance(at_ms * kMs);
    return replica.arrive({row++, at_ms * kMs, input, output, hashes});
  }
  double ms(std::int64_t ps) const { return static_cast<double>(ps) / kMs; }
  FixedCost cost;
  Metrics metrics;
  Replica replica;
  std::uint32_t row = 0;
  std::map<std::uint32_t, RequestRecord> finished;
  std::vector<StepRecord> steps;
};

ReplicaSpec small() {
  ReplicaSpec spec;
  spec.max_num_seqs = 4;
  spec.max_batched_tokens = 64;
  spec.memory.kv_blocks = 100;
  spec.leap = false;
  return spec;
}

TEST(Replica, ALoneRequestTakesOnePrefillStepAndOneStepPerFurtherToken) {
  Engine engine(small());
  engine.send(0, 50, 5);
  engine.replica.finish();
  const RequestRecord r = engine.finished.at(0);
  EXPECT_EQ(r.first_token_ps, 10 * kMs);
  EXPECT_EQ(r.finish_ps, 50 * kMs);
  EXPECT_EQ(engine.steps.size(), 5u);
}

TEST(Replica, APromptBeyondTheBudgetIsPrefilledInChunks) {
  Engine engine(small());
  engine.send(0, 150, 1);
  engine.replica.finish();
  ASSERT_EQ(engine.steps.size(), 3u);
  EXPECT_EQ(engine.steps[0].prefill_tokens, 64);
  EXPECT_EQ(engine.steps[1].prefill_tokens, 64);
  EXPECT_EQ(engine.steps[2].prefill_tokens, 22);
  EXPECT_EQ(engine.finished.at(0).first_token_ps, 30 * kMs);
  EXPECT_EQ(engine.cost.shapes[0].sampled, 0) << "an unfinished prompt samples nothing";
  EXPECT_EQ(engine.cost.shapes[2].sampled, 1);
}

TEST(Replica, DecodesGoFirstAndThePromptTakesWhatIsLeftOfTheBudget) {
  Engine engine(small());
  engine.send(0, 10, 50);
  engine.send(5, 100, 2);
  engine.replica.finish();
  for (const StepRecord& step : engine.steps) EXPECT_LE(step.decodes + step.prefill_tokens, 64);
  // One decode beside the first chunk of the newcomer.
  EXPECT_EQ(engine.steps[2].decodes, 1);
  EXPECT_EQ(engine.steps[2].prefill_tokens, 63);
}

TEST(Replica, WithAsynchronousSchedulingANewcomerMissesTheStepAlreadyScheduled) {
  // Steps k = [10, 20) and k + 1 are scheduled at 0 and 10; whoever arrives at 12 is seen at 20 and runs in
  // the step from 30 on: first token at 40.
  ReplicaSpec spec = small();
  Engine async(spec);
  async.send(0, 10, 20);
  async.send(12, 10, 2);
  async.replica.finish();
  EXPECT_EQ(async.finished.at(1).queued_ps, 20 * kMs);
  EXPECT_EQ(async.finished.at(1).first_token_ps, 40 * kMs);
  spec.async_depth = 1;
  Engine sync(spec);
  sync.send(0, 10, 20);
  sync.send(12, 10, 2);
  sync.replica.finish();
  EXPECT_EQ(sync.finished.at(1).queued_ps, 20 * kMs);
  EXPECT_EQ(sync.finished.at(1).first_token_ps, 30 * kMs);
}

TEST(Replica, HostTimeIsHiddenByAsynchronousSchedulingAndAddedWithoutIt) {
  ReplicaSpec spec = small();
  spec.host_base_ps = 2 * kMs;
  Engine async(spec);
  async.send(0, 10, 11);
  async.replica.finish();
  EXPECT_EQ(async.finished.at(0).finish_ps, (2 + 11 * 10) * kMs)
      << "only the first launch waits for the host";
  spec.async_depth = 1;
  Engine sync(spec);
  sync.send(0, 10, 11);
  sync.replica.finish();
  EXPECT_EQ(sync.finished.at(0).finish_ps, 11 * 12 * kMs);
}

TEST(Replica, TheHostPreparesOneStepAfterTheOtherSoItCanBeTheBottleneck) {
  ReplicaSpec spec = small();
  spec.host_base_ps = 25 * kMs;
  Engine engine(spec);
  engine.send(0, 10, 11);
  engine.replica.finish();
  EXPECT_EQ(engine.finished.at(0).finish_ps, (11 * 25 + 10) * kMs);
}

TEST(Replica, AGapOfMonthsIsAnIdleSpell) {
  Engine engine(small());
  const std::int64_t days = 24 * 3600 * 1000LL;
  engine.send(0, 10, 2);
  engine.send(69 * days, 10, 2);
  engine.replica.finish();
  EXPECT_EQ(engine.finished.at(1).queued_ps, 69 * days * kMs);
}

TEST(Replica, AStoppedRunKeepsWhatFinished) {
  volatile std::sig_atomic_t stop = 0;
  ReplicaSpec spec = small();
  spec.stop = &stop;
  Engine engine(spec);
  engine.send(0, 10, 2);
  engine.send(100, 10, 1000);
  stop = 1;
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.completed, 1);
}

TEST(Replica, ASeatIsUsedAgainOnlyAfterTheLastTokenWasProcessed) {
  ReplicaSpec spec = small();
  spec.max_num_seqs = 1;
  spec.max_batched_tokens = 64;
  Engine engine(spec);
  engine.send(0, 10, 2);
  engine.send(0, 10, 1);
  engine.replica.finish();
  EXPECT_EQ(engine.finished.at(0).finish_ps, 20 * kMs);
  EXPECT_EQ(engine.finished.at(1).scheduled_ps, 20 * kMs);
}

TEST(Replica, WithoutABlockForADecodeTheLatestAdmittedRequestIsPreemptedAndComputesAgain) {
  ReplicaSpec spec = small();
  spec.memory.kv_blocks = 4;  // 64 token slots
  spec.memory.prefix_cache = false;
  Engine engine(spec);
  engine.send(0, 30, 20);  // ends with 49 tokens in 4 blocks
  engine.send(0, 17, 10);  // two blocks at once
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.preemptions, 1);
  EXPECT_EQ(engine.finished.at(1).preemptions, 1);
  EXPECT_EQ(engine.finished.at(0).preemptions, 0);
  // The first request decodes at 30, 31 in its second block and takes a third at 32: two steps after its
  // prefill.
  EXPECT_EQ(engine.metrics.recomputed_tokens, 17 + 2)
      << "prompt and stored answer; its third token was never stored";
  EXPECT_EQ(engine.metrics.completed, 2);
}

TEST(Replica, NobodyIsAdmittedInAStepThatPreempted) {
  ReplicaSpec spec = small();
  spec.memory.kv_blocks = 4;
  spec.memory.prefix_cache = false;
  Engine engine(spec);
  engine.send(0, 30, 20);
  engine.send(0, 17, 10);
  engine.send(1, 5, 1);
  engine.replica.finish();
  std::int64_t before = 0;
  for (const StepRecord& step : engine.steps) {
    if (before > step.running) {
      EXPECT_EQ(step.prefill_tokens, 0);
    }
    before = step.running;
  }
  EXPECT_EQ(engine.metrics.completed, 3);
}

TEST(Replica, AWaitingRequestThatDoesNotFitBlocksThoseBehindIt) {
  ReplicaSpec spec = small();
  spec.memory.kv_blocks = 6;
  Engine engine(spec);
  engine.send(0, 60, 3);  // 4 blocks
  engine.send(1, 50, 2);  // 4 blocks: has to wait
  engine.send(2, 5, 2);   // would fit
  engine.replica.finish();
  EXPECT_LE(engine.finished.at(1).scheduled_ps, engine.finished.at(2).scheduled_ps);
  EXPECT_GE(engine.finished.at(1).scheduled_ps, engine.finished.at(0).finish_ps);
}

TEST(Replica, APromptMustFitWholeBeforeItsFirstChunkRuns) {
  ReplicaSpec spec = small();
  spec.memory.kv_blocks = 8;
  spec.max_batched_tokens = 32;
  Engine strict(spec);
  strict.send(0, 60, 30);  // 4 blocks, soon 6
  strict.send(15, 70, 2);  // 5 blocks: a chunk would fit, the prompt does not
  strict.replica.finish();
  EXPECT_GE(strict.finished.at(1).scheduled_ps, strict.finished.at(0).finish_ps);
  EXPECT_EQ(strict.metrics.preemptions, 0);
  spec.memory.reserve_full_prompt = false;
  Engine eager(spec);
  eager.send(0, 60, 30);
  eager.send(15, 70, 2);
  eager.replica.finish();
  EXPECT_LT(eager.finished.at(1).scheduled_ps, eager.finished.at(0).finish_ps);
}

TEST(Replica, EqualPrefixesAreComputedOnceButTheLastTokenAlways) {
  Engine engine(small());
  engine.send(0, 32, 1, {11, 12});
  engine.send(100, 32, 1, {11, 12});
  engine.send(200, 40, 1, {11, 12});
  engine.send(300, 40, 1,
              {99, 12});  // equal second block behind another first one: a chained identity differs
  engine.replica.finish();
  EXPECT_EQ(engine.finished.at(0).cached_tokens, 0);
  EXPECT_EQ(engine.finished.at(1).cached_tokens, 16) << "the block with the last token is computed again";
  EXPECT_EQ(engine.finished.at(2).cached_tokens, 32);
  EXPECT_EQ(engine.finished.at(3).cached_tokens, 0);
  EXPECT_EQ(engine.metrics.prompt_tokens_hit, 48);
}

TEST(Replica, WithThePrefixCacheOffNothingIsFound) {
  ReplicaSpec spec = small();
  spec.memory.prefix_cache = false;
  Engine engine(spec);
  engine.send(0, 32, 1, {11, 12});
  engine.send(100, 40, 1, {11, 12});
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.prompt_tokens_hit, 0);
}

TEST(Replica, APreemptedRequestFindsItsOwnBlocksAgainUntilTheyAreReused) {
  ReplicaSpec spec = small();
  spec.memory.kv_blocks = 6;
  spec.max_batched_tokens = 128;
  Engine engine(spec);
  engine.send(0, 30, 8);  // needs a third block at token 32 and ends before a fourth
  engine.send(0, 60, 6);  // 4 blocks: preempted, its head is still there when the first one ends
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.preemptions, 1);
  EXPECT_LT(engine.metrics.recomputed_tokens, 60) << "surviving blocks are not computed again";
  EXPECT_GT(engine.metrics.recomputed_tokens, 0);
}

TEST(Replica, RequestsThatCanNeverFitAreRejectedAndTheRestGoesOn) {
  ReplicaSpec spec = small();
  spec.memory.kv_blocks = 4;
  spec.memory.max_model_len = 60;
  Engine engine(spec);
  EXPECT_NE(engine.send(0, 50, 40), "");
  EXPECT_NE(engine.send(0, 70, 1), "");
  EXPECT_EQ(engine.send(0, 20, 3), "");
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.completed, 1);
  EXPECT_EQ(engine.metrics.rejected.size(), 1u);
}

TEST(Replica, AnIdleEngineTakesAnArrivalAtOnce) {
  Engine engine(small());
  engine.send(0, 10, 1);
  engine.send(1000, 10, 1);
  engine.replica.finish();
  EXPECT_EQ(engine.finished.at(1).queued_ps, 1000 * kMs);
  EXPECT_EQ(engine.finished.at(1).first_token_ps, 1010 * kMs);
}

TEST(Replica, GapsBetweenTokensAddUpToTheDecodeTimeOfEveryRequest) {
  ReplicaSpec spec = small();
  spec.memory.kv_blocks = 8;
  Engine engine(spec);
  for (int i = 0; i < 12; ++i) engine.send(i * 7, 20 + i * 3, 5 + i % 7);
  engine.replica.finish();
  std::int64_t tokens = 0;
  double decode_ms = 0;
  for (const auto& [row, r] : engine.finished) {
    tokens += r.output_tokens - 1;
    decode_ms += engine.ms(r.finish_ps - r.first_token_ps);
  }
  ASSERT_EQ(engine.finished.size(), 12u);
  EXPECT_EQ(engine.metrics.itl_ps.count(), tokens);
  EXPECT_NEAR(engine.metrics.itl_ps.mean() * static_cast<double>(tokens) / kMs, decode_ms, 1e-6);
}

// Contiguous regions: 1,600 slots are 1024 + 512 + 64.
TEST(Replica, AReservedRegionIsHeldFromAdmissionToTheEnd) {
  ReplicaSpec spec = small();
  spec.memory.allocator = KvAllocator::contiguous_oracle;
  Engine engine(spec);
  engine.send(0, 50, 51);  // 100 tokens stored: a region of 128
  engine.replica.finish();
  ASSERT_EQ(engine.finished.size(), 1u);
  EXPECT_EQ(engine.metrics.peak_blocks, 128 / 16);
  EXPECT_EQ(engine.metrics.preemptions, 0);
  const Metrics& m = engine.metrics;
  EXPECT_DOUBLE_EQ(m.slot_time, 128 * m.step_time);
  EXPECT_DOUBLE_EQ(m.resident_time + m.reserved_time, 100 * m.step_time);
}

TEST(Replica, RequestsWaitForARegionInOnePiece) {
  ReplicaSpec spec = small();
  spec.memory.allocator = KvAllocator::contiguous_max;
  spec.memory.max_model_len = 512;
  Engine engine(spec);
  for (int i = 0; i < 4; ++i) engine.send(0, 20, 10);
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.peak_running, 3)
      << "1024 + 512 hold three regions of 512; the last 64 slots are lost";
  EXPECT_GT(engine.metrics.external_time, 0);
  EXPECT_EQ(engine.metrics.completed, 4);
}

TEST(Replica, ARegionMayCoverTheAnswerRoundedUpToAPowerOfTwo) {
  ReplicaSpec spec = small();
  spec.memory.allocator = KvAllocator::contiguous_pow2;
  Engine engine(spec);
  engine.send(0, 100, 33);  // 100 + 64 = 164: a region of 256, where the exact 132 would do with 256 as well
  engine.send(0, 60, 33);   // 60 + 64 = 124: 128
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.peak_blocks, (256 + 128) / 16);
}

TEST(Replica, WhatNoRegionCanHoldIsRejectedAndTheRestGoesOn) {
  ReplicaSpec spec = small();
  spec.memory.allocator = KvAllocator::contiguous_pow2;
  Engine engine(spec);
  EXPECT_EQ(engine.send(0, 900, 200),
            "needs a larger region than the engine has (engine.max_model_len bounds it)");
  EXPECT_EQ(engine.send(0, 700, 200), "");
  spec.memory.allocator = KvAllocator::contiguous_max;
  spec.memory.max_model_len = 512;
  Engine longest(spec);
  EXPECT_EQ(longest.send(0, 500, 20), "longer than max_model_len");
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.completed, 1);
}

TEST(Replica, MemoryThatIsOnlyNotAskedForYetIsNoWaste) {
  ReplicaSpec spec = small();
  spec.memory.allocator = KvAllocator::contiguous_oracle;
  Engine engine(spec);
  for (int i = 0; i < 4; ++i)
    engine.send(0, 60, 4);  // one prompt fills the budget of a step: the others wait for that
  engine.replica.finish();
  EXPECT_EQ(engine.metrics.completed, 4);
  EXPECT_EQ(engine.metrics.external_time, 0);
}

}  // namespace
}  // namespace tessera
