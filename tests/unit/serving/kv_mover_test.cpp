// Moving KV in one engine: every step takes 10 ms, the host link moves one block a millisecond.
#include "sim/serving/kv_mover.hpp"

#include <gtest/gtest.h>

#include <map>

#include "sim/serving/replica.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMs = 1'000'000'000;  // picoseconds

// 10 ms a step; with `per_token`, that much more for every prompt token.
class FixedCost final : public StepCost {
 public:
  explicit FixedCost(std::int64_t per_token = 0) : per_token_(per_token) {}
  StepPrice price(const StepShape& shape) override {
    StepPrice price;
    price.base_ps = (per_token_ > 0 ? 0 : 10 * kMs) + per_token_ * shape.prefill_tokens + 1;
    price.valid_steps = 1000000;
    return price;
  }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return {}; }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return {}; }

 private:
  std::int64_t per_token_;
};

TierDevice millisecond_a_block(double both = 2) {
  TierDevice d;
  d.name = "link";
  d.read_gb_s = d.write_gb_s = {1, ""};  // 1 MB a millisecond
  d.both_gb_s = {both, ""};
  return d;
}

KvMoverSpec mover_spec() {
  KvMoverSpec spec;
  spec.host_link = millisecond_a_block();
  spec.block = {1'000'000, 1};
  spec.block_tokens = 16;
  spec.layers = 4;
  spec.swap_blocks = 1000;
  return spec;
}

TierSpec host_tier(std::uint32_t blocks) {
  TierSpec tier;
  tier.name = "host";
  tier.capacity_blocks = blocks;
  tier.most_backlog_ps = 1'000'000 * kMs;
  return tier;
}

struct Engine {
  explicit Engine(const KvMoverSpec& movement, std::int64_t kv_blocks = 100, bool prefix_cache = true,
                  std::int64_t per_token = 0)
      : cost(per_token), replica(spec_of(movement, kv_blocks, prefix_cache), cost, metrics) {
    metrics.on_finish = [this](const RequestRecord& record) { finished[record.row] = record; };
    metrics.on_step = [this](const StepRecord& step) { steps.push_back(step); };
  }
  static ReplicaSpec spec_of(const KvMoverSpec& movement, std::int64_t kv_blocks, bool prefix_cache) {
    ReplicaSpec spec;
    spec.max_num_seqs = 8;
    spec.max_batched_tokens = 4096;
    spec.memory.kv_blocks = kv_blocks;
    spec.memory.prefix_cache = prefix_cache;
    spec.memory.keep_drops = true;
    spec.movement = std::make_shared<KvMoverSpec>(movement);
    return spec;
  }
  std::string send(std::int64_t at_ms, std::int32_t input, std::int32_t output, std::uint64_t family) {
    replica.advance(at_ms * kMs);
    std::vector<std::uint64_t> hashes;
    for (std::int32_t i = 0; family != 0 && i < input / 16; ++i)
      hashes.push_back(family * 1'000'000 + static_cast<std::uint64_t>(i));
    return replica.arrive({row++, at_ms * kMs, input, output, hashes});
  }
  double ttft_ms(std::uint32_t r) const {
    return static_cast<double>(finished.at(r).first_token_ps - finished.at(r).arrival_ps) / kMs;
  }
  FixedCost cost;
  Metrics metrics;
  Replica replica;
  std::uint32_t row = 0;
  std::map<std::uint32_t, RequestRecord> finished;
  std::vector<StepRecord> steps;
};

TEST(KvMover, AHitInATierWaitsForItsBlocksWhileNothingElseRuns) {
  KvMoverSpec spec = mover_spec();
  spec.tiers = {host_tier(100)};
  Engine engine(spec, 100, false);  // HBM keeps nothing
  engine.send(0, 16 * 8 + 1, 1, 7);
  engine.send(1000, 16 * 8 + 1, 1, 7);
  engine.replica.finish();
  EXPECT_NEAR(engine.ttft_ms(0), 10, 1e-6) << "writing through costs the request nothing";
  EXPECT_NEAR(engine.ttft_ms(1), 8 + 10, 1e-6) << "eight blocks, then a step for the last token";
  EXPECT_EQ(engine.finished[1].cached_tokens, 128);
  EXPECT_EQ(engine.steps[1].prefill_tokens, 1);
  const TierStack& stack = engine.replica.mover()->stack();
  EXPECT_EQ(stack.count(0).loaded, 8);
  EXPECT_EQ(stack.count(0).stored, 8);
  EXPECT_EQ(stack.host().use(Direction::read).bytes, 8'000'000);
  EXPECT_EQ(stack.host().use(Direction::write).bytes, 8'000'000);
}

TEST(KvMover, OthersRunWhileARequestWaitsForItsBlocks) {
  KvMoverSpec spec = mover_spec();
  spec.tiers = {host_tier(100)};
  Engine engine(spec, 200, false);
  engine.send(0, 16 * 30 + 1, 1, 7);
  engine.send(1000, 16 * 30 + 1, 1, 7);  // 30 ms of loading
  engine.send(1001, 40, 1, 0);
  engine.replica.finish();
  EXPECT_NEAR(engine.ttft_ms(2), 10, 1e-6) << "an arrival wakes an engine that waits for blocks";
  EXPECT_NEAR(engine.ttft_ms(1), 30 + 10, 1e-6);
}

TEST(KvMover, LayersLoadedOneByOneShowOnlyWhatComputingDoesNotHide) {
  // load 8 ms, the first of four layers after 2: end = max(2 + 10, 8 + 10 / 4).
  KvMoverSpec spec = mover_spec();
  spec.mode = LoadMode::layerwise;
  spec.tiers = {host_tier(100)};
  Engine hidden(spec, 100, false);
  hidden.send(0, 16 * 8 + 1, 1, 7);
  hidden.send(1000, 16 * 8 + 1, 1, 7);
  hidden.replica.finish();
  EXPECT_NEAR(hidden.ttft_ms(1), 12, 1e-6);
  // 40 ms of loading: end = 40 + 2.5.
  Engine shown(spec, 100, false);
  shown.send(0, 16 * 40 + 1, 1, 7);
  shown.send(1000, 16 * 40 + 1, 1, 7);
  shown.replica.finish();
  EXPECT_NEAR(shown.ttft_ms(1), 42.5, 1e-6);
  EXPECT_NEAR(static_cast<double>(shown.replica.mover()->count().stall_ps) / kMs, 32.5, 1e-6);
}

// However large the blocks, a step begins with its first layer's share of them.
TEST(KvMover, LayersOverlapWhateverTheBlocksSize) {
  for (const std::int64_t blocks : {1, 2, 8}) {
    KvMoverSpec spec = mover_spec();
    spec.mode = LoadMode::layerwise;
    spec.block = {8'000'000 / blocks, 1};
    spec.block_tokens = 128 / blocks;
    spec.tiers = {host_tier(100)};
    FixedCost cost;
    KvMover mover(spec, cost);
    std::vector<BlockHash> prompt;
    for (std::int64_t i = 0; i < blocks; ++i) prompt.push_back(static_cast<BlockHash>(100 + i));
    mover.queued(0, prompt, 0, 0, 129);
    mover.computed(prompt, 0, 128, 0, 0);
    const KvMover::Fetch fetch = mover.fetch(0, prompt, 0, 129, 1000, 1000 * kMs);
    EXPECT_EQ(fetch.to, 128);
    EXPECT_NEAR(static_cast<double>(fetch.first_ps - 1000 * kMs) / kMs, 2, 1e-3) << blocks << " blocks";
    EXPECT_NEAR(static_cast<double>(fetch.end_ps - 1000 * kMs) / kMs, 8, 1e-3) << blocks << " blocks";
  }
}

// Blocks that come take the room of blocks that go down: those go first.
TEST(KvMover, NothingIsLoadedIntoRoomWhoseContentStillLeaves) {
  KvMoverSpec spec = mover_spec();
  spec.mode = LoadMode::layerwise;
  spec.tiers = {host_tier(100)};
  spec.tiers[0].write_through = false;
  spec.tiers[0].exclusive = true;
  Engine engine(spec, 10);
  engine.send(0, 16 * 8 + 1, 1, 7);
  engine.send(1000, 16 * 8 + 1, 1, 8);  // seven blocks of the first go down, its head stays
  engine.send(2000, 16 * 8 + 1, 1, 7);  // seven come back, into room of the second's
  engine.replica.finish();
  EXPECT_EQ(engine.finished[2].cached_tokens, 16 * 8);
  const double out =
      static_cast<double>(engine.replica.mover()->stack().host().use(Direction::write).bytes) / 1e6 - 7;
  EXPECT_GE(out, 6) << "blocks of the second go down";
  EXPECT_GE(engine.ttft_ms(2), 6 + 7.0 / 4 + 10 - 1e-6);
}

TEST(KvMover, ByCostItLoadsOnlyWhatComesSoonerThanItIsComputed) {
  KvMoverSpec spec = mover_spec();
  spec.split = LoadSplit::cost;
  spec.tiers = {host_tier(100)};
  Engine slow_gpu(spec, 100, false, kMs / 8);  // a block takes 2 ms to compute, 1 to load
  slow_gpu.send(0, 16 * 8 + 1, 1, 7);
  slow_gpu.send(1000, 16 * 8 + 1, 1, 7);
  slow_gpu.replica.finish();
  EXPECT_EQ(slow_gpu.finished[1].cached_tokens, 128);
  Engine fast_gpu(spec, 100, false, kMs / 32);  // half a millisecond
  fast_gpu.send(0, 16 * 8 + 1, 1, 7);
  fast_gpu.send(1000, 16 * 8 + 1, 1, 7);
  fast_gpu.replica.finish();
  EXPECT_EQ(fast_gpu.finished[1].cached_tokens, 0);
  EXPECT_EQ(fast_gpu.replica.mover()->count().declined_blocks, 8);
}

TEST(KvMover, FromBothEndsComputingAndLoadingMeet) {
  KvMoverSpec spec = mover_spec();
  spec.split = LoadSplit::both_ends;
  spec.tiers = {host_tier(1000)};
  Engine engine(spec, 1000, false, kMs / 16);  // a block takes 1 ms to compute as to load
  engine.send(0, 16 * 40 + 1, 1, 7);
  engine.send(1000, 16 * 40 + 1, 1, 7);
  engine.replica.finish();
  EXPECT_EQ(engine.finished[1].cached_tokens, 20 * 16) << "half is computed meanwhile";
  EXPECT_NEAR(engine.ttft_ms(0), 40, 0.1);
  EXPECT_NEAR(engine.ttft_ms(1), 20, 0.2) << "1 / (1 / 40 + 1 / 40)";
}

TEST(KvMover, WhatHbmDropsGoesDownFirstWhereATierIsWrittenOnEvict) {
  KvMoverSpec spec = mover_spec();
  spec.tiers = {host_tier(100)};
  spec.tiers[0].write_through = false;
  spec.tiers[0].exclusive = true;
  Engine engine(spec, 10);
  engine.send(0, 16 * 8 + 1, 1, 7);
  EXPECT_EQ(engine.replica.mover()->stack().count(0).stored, 0);
  engine.send(1000, 16 * 8 + 1, 1, 8);  // takes nine of ten blocks: seven of the eight kept go down
  engine.send(2000, 16 * 8 + 1, 1, 7);
  engine.replica.finish();
  EXPECT_NEAR(engine.ttft_ms(1), 7 + 10, 1e-6) << "its step waits until what it overwrites is out";
  EXPECT_GT(engine.finished[2].cached_tokens, 0);
  const TierStack& stack = engine.replica.mover()->stack();
  stack.audit();
  EXPECT_EQ(stack.store(0).count().erased, stack.count(0).loaded) << "exclusive: loaded blocks leave";
}

TEST(KvMover, ALoadThatIsCancelledLeavesItsBlocksInAnExclusiveTier) {
  KvMoverSpec spec = mover_spec();
  spec.tiers = {host_tier(100)};
  spec.tiers[0].write_through = false;
  spec.tiers[0].exclusive = true;
  FixedCost cost;
  KvMover mover(spec, cost);
  const std::vector<BlockHash> prompt{11, 12, 13, 14};
  mover.queued(0, prompt, 0, 0, 65);
  mover.dropped(prompt, 0);
  const auto fetch = [&](std::int64_t ms) { return mover.fetch(0, prompt, 0, 65, 1000, ms * kMs); };
  EXPECT_EQ(fetch(100).to, 64);
  // Preempted on the way, it is admitted again and asks again.
  EXPECT_EQ(fetch(200).to, 64);
  mover.computed(prompt, 32, 48, 201 * kMs, 202 * kMs);
  EXPECT_EQ(mover.stack().store(0).resident(), 4u) << "two blocks of four: not all of them have arrived";
  mover.computed(prompt, 64, 65, 300 * kMs, 301 * kMs);
  EXPECT_EQ(mover.stack().store(0).resident(), 0u);
  EXPECT_EQ(fetch(400).to, 0);
}

TEST(KvMover, TheLastBlockOfAPromptIsNotBroughtUpAsItIsComputedAnyway) {
  KvMoverSpec spec = mover_spec();
  spec.tiers = {host_tier(4), host_tier(100)};
  spec.tiers[1].device = millisecond_a_block();
  FixedCost cost;
  for (const std::int64_t input : {64, 65}) {
    KvMover mover(spec, cost);
    const std::vector<BlockHash> prompt{11, 12, 13, 14}, other{21, 22, 23, 24};
    mover.computed(prompt, 0, 64, 0, 0);
    mover.computed(other, 0, 64, 1000 * kMs, 1000 * kMs);  // pushes the first out of host memory
    mover.queued(0, prompt, 0, 2000 * kMs, input);
    EXPECT_EQ(mover.stack().count(1).read_ahead, (input - 1) / 16);
    EXPECT_EQ(mover.stack().count(0).prefetched, (input - 1) / 16);
    mover.stack().audit();
  }
}

TEST(KvMover, AWaitingRequestsBlocksComeUpFromADriveMeanwhile) {
  const auto play = [](bool prefetch) {
    KvMoverSpec spec = mover_spec();
    spec.tiers = {host_tier(8), host_tier(1000)};
    spec.tiers[1].device = millisecond_a_block();
    spec.tiers[1].prefetch = prefetch;
    Engine engine(spec, 95, false);
    engine.send(0, 16 * 8 + 1, 1, 7);
    engine.send(1000, 16 * 8 + 1, 1, 8);  // pushes 7 out of host memory
    engine.send(2000, 16 * 90, 20, 0);    // leaves too little of HBM for 200 ms
    engine.send(2001, 16 * 8 + 1, 1, 7);  // waits for it
    engine.replica.finish();
    EXPECT_EQ(engine.replica.mover()->stack().count(0).prefetched, prefetch ? 8 : 0);
    return static_cast<double>(engine.finished[3].first_token_ps - engine.finished[2].finish_ps) / kMs;
  };
  EXPECT_NEAR(play(true), 8 + 10, 0.5) << "host link only";
  EXPECT_NEAR(play(false), 8 + 1 + 10, 0.5) << "the drive first, its blocks passed on one by one";
}

TEST(KvMover, ASwappedRequestComesBackWithItsTokens) {
  const auto play = [](Preemption rule, std::int64_t swap_blocks, std::int64_t per_token) {
    KvMoverSpec spec = mover_spec();
    spec.preemption = rule;
    spec.swap_blocks = swap_blocks;
    auto engine = std::make_unique<Engine>(spec, 20, false, per_token);
    engine->send(0, 16 * 8, 60, 0);
    engine->send(0, 16 * 8, 60, 0);
    engine->replica.finish();
    EXPECT_EQ(engine->finished.size(), 2u);
    EXPECT_GT(engine->metrics.preemptions, 0);
    EXPECT_EQ(engine->replica.mover()->swap_blocks_used(), 0);
    return engine;
  };
  const auto swapped = play(Preemption::swap, 1000, 0);
  const MovementCount& c = swapped->replica.mover()->count();
  EXPECT_EQ(c.swaps_out, swapped->metrics.preemptions);
  EXPECT_EQ(c.swaps_in, c.swaps_out);
  EXPECT_EQ(c.swapped_in_blocks, c.swapped_out_blocks) << "nothing of it was left in HBM";
  EXPECT_EQ(swapped->metrics.recomputed_tokens, 0) << "all it had computed came back";
  const TierLink& host = swapped->replica.mover()->stack().host();
  EXPECT_EQ(host.use(Direction::write).bytes, c.swapped_out_blocks * 1'000'000);
  EXPECT_EQ(host.use(Direction::read).bytes, c.swapped_in_blocks * 1'000'000);

  const auto dropped = play(Preemption::recompute, 1000, 0);
  EXPECT_EQ(dropped->replica.mover()->count().swaps_out, 0);
  EXPECT_GT(dropped->metrics.recomputed_tokens, 100);

  const auto full = play(Preemption::swap, 3, 0);
  EXPECT_EQ(full->replica.mover()->count().swaps_out, 0);
  EXPECT_EQ(full->replica.mover()->count().swap_full, full->metrics.preemptions);

  EXPECT_GT(play(Preemption::cost, 1000, kMs)->replica.mover()->count().swaps_out, 0);
  EXPECT_EQ(play(Preemption::cost, 1000, 100)->replica.mover()->count().swaps_out, 0)
      << "computing is faster";
}

TEST(KvMover, ATierThatIsFullOfBlocksUnderWayTakesNoMoreAndNothingHangs) {
  KvMoverSpec spec = mover_spec();
  spec.tiers = {host_tier(1)};
  Engine engine(spec, 12, false);
  for (int i = 0; i < 20; ++i) engine.send(i, 16 * 10 + 1, 3, 1 + static_cast<std::uint64_t>(i % 3));
  engine.replica.finish();
  EXPECT_EQ(engine.finished.size(), 20u);
  const TierStack& stack = engine.replica.mover()->stack();
  EXPECT_GT(stack.store(0).count().refused, 0);
  EXPECT_EQ(stack.host().use(Direction::write).bytes, stack.count(0).stored * 1'000'000);
  stack.audit();
}

TEST(KvMover, ALinkThatIsHoursBehindDelaysButDoesNotStop) {
  KvMoverSpec spec = mover_spec();
  spec.host_link.latency_us = {6e7, ""};  // a minute
  spec.tiers = {host_tier(100)};
  Engine engine(spec, 100, false);
  engine.send(0, 16 * 8 + 1, 1, 7);
  engine.send(200'000, 16 * 8 + 1, 1, 7);
  engine.replica.finish();
  EXPECT_NEAR(engine.ttft_ms(1), 60'000 + 8 + 10, 1e-6);
}

TEST(KvMover, WritesAreLeftOutWhileALinkIsTooFarBehind) {
  KvMoverSpec spec = mover_spec();
  spec.tiers = {host_tier(1000)};
  spec.tiers[0].most_backlog_ps = 20 * kMs;
  Engine engine(spec, 1000, false);
  for (int i = 0; i < 8; ++i) engine.send(0, 16 * 30 + 1, 1, 1 + static_cast<std::uint64_t>(i));
  engine.replica.finish();
  const TierStack::Count& count = engine.replica.mover()->stack().count(0);
  EXPECT_EQ(engine.replica.mover()->stack().host().use(Direction::write).bytes, count.stored * 1'000'000);
  EXPECT_EQ(count.stored + count.left_out, 8 * 30);
  EXPECT_GT(count.left_out, 0);
  EXPECT_GT(count.stored, 0);
}

}  // namespace
}  // namespace tessera
