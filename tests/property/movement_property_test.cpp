// Whole engines whose KV moves, under random loads, tiers and memory pressure.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <memory>
#include <vector>

#include "sim/serving/kv_mover.hpp"
#include "sim/serving/kv_paged.hpp"
#include "sim/serving/replica.hpp"

namespace tessera {
namespace {

class SensitiveCost final : public StepCost {
 public:
  StepPrice price(const StepShape& shape) override {
    StepPrice price;
    price.base_ps = 1'000'000 + 1000 * shape.tokens() + 7 * shape.decode_kv[0] + 11 * shape.sampled;
    for (const PrefillChunk& chunk : shape.chunks) price.base_ps += 5 * chunk.tokens * (chunk.history + 1);
    price.slope_ps = 7 * shape.decodes;
    price.valid_steps = shape.chunks.empty() ? 1000 : 1;
    return price;
  }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return {}; }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return {}; }
};

struct One {
  std::int64_t gap_ps;
  std::int32_t input, output;
  std::vector<std::uint64_t> hashes;
};

struct Load {
  ReplicaSpec spec;
  KvMoverSpec movement;
  std::vector<One> requests;
};

TierDevice any_device() {
  TierDevice d;
  d.name = "device";
  d.read_gb_s = {*rc::gen::element(0.05, 1.0, 40.0), ""};
  d.write_gb_s = {*rc::gen::element(0.05, 1.0, 40.0), ""};
  const double most = std::max(d.read_gb_s.value, d.write_gb_s.value);
  d.both_gb_s = {*rc::gen::element(most, most * 1.3, d.read_gb_s + d.write_gb_s), ""};
  if (d.both_gb_s < most) d.both_gb_s.value = most;
  d.latency_us = {*rc::gen::element(0.0, 1.0, 30.0), ""};
  d.copy_us = {*rc::gen::element(0.0, 0.5), ""};
  return d;
}

Load any_load() {
  Load load;
  ReplicaSpec& spec = load.spec;
  spec.max_num_seqs = *rc::gen::inRange<std::int64_t>(1, 9);
  spec.max_batched_tokens = spec.max_num_seqs + *rc::gen::inRange<std::int64_t>(0, 100);
  spec.memory.block_tokens = *rc::gen::element<std::int64_t>(1, 4, 16);
  spec.memory.kv_blocks = *rc::gen::inRange<std::int64_t>(4, 160 / spec.memory.block_tokens + 12);
  spec.memory.prefix_cache = *rc::gen::arbitrary<bool>();
  spec.memory.reserve_full_prompt = *rc::gen::arbitrary<bool>();
  spec.memory.allocate_full_prompt = *rc::gen::arbitrary<bool>();
  spec.memory.watermark = *rc::gen::element(0.0, 0.1);
  spec.memory.keep_drops = true;
  spec.async_depth = *rc::gen::inRange(1, 3);
  spec.host_base_ps = *rc::gen::element<std::int64_t>(0, 400'000);

  KvMoverSpec& m = load.movement;
  m.host_link = any_device();
  m.block = {*rc::gen::element<std::int64_t>(100, 4000), *rc::gen::element<std::int64_t>(1, 3)};
  m.block_tokens = spec.memory.block_tokens;
  m.layers = 4;
  m.max_batched_tokens = spec.max_batched_tokens;
  m.mode = *rc::gen::element(LoadMode::async, LoadMode::layerwise);
  m.split = *rc::gen::element(LoadSplit::load, LoadSplit::cost, LoadSplit::both_ends);
  if (m.mode == LoadMode::layerwise && m.split == LoadSplit::both_ends) m.mode = LoadMode::async;
  m.preemption =
      *rc::gen::element(Preemption::recompute, Preemption::swap, Preemption::swap, Preemption::cost);
  m.swap_blocks = *rc::gen::element<std::int64_t>(0, 5, 1000, 1000);
  const auto tiers = *rc::gen::element(0, 1, 2, 2, 3);
  for (int i = 0; i < tiers; ++i) {
    TierSpec tier;
    tier.name = "tier";
    tier.capacity_blocks = *rc::gen::inRange<std::uint32_t>(1, 40);
    tier.policy = *rc::gen::element<std::string>("lru", "sieve", "s3-fifo", "slru");
    if (i > 0) tier.device = any_device();
    tier.write_through = *rc::gen::arbitrary<bool>();
    tier.exclusive = !tier.write_through && *rc::gen::arbitrary<bool>();
    tier.prefetch = *rc::gen::arbitrary<bool>();
    tier.ratio = *rc::gen::element(1.0, 3.0);
    tier.most_backlog_ps = *rc::gen::element<std::int64_t>(0, 5'000'000, std::int64_t{1} << 60);
    m.tiers.push_back(tier);
  }
  const auto count = *rc::gen::inRange(1, 40);
  for (int i = 0; i < count; ++i) {
    One one;
    one.gap_ps = *rc::gen::inRange<std::int64_t>(0, 8'000'000);
    one.input = *rc::gen::inRange(1, 80);
    one.output = *rc::gen::inRange(1, 40);
    if (*rc::gen::inRange(0, 4) > 0) {  // a few shared prompts
      const auto family = *rc::gen::inRange<std::uint64_t>(1, 4);
      for (std::int64_t b = 0; b < one.input / spec.memory.block_tokens; ++b)
        one.hashes.push_back(family * 1000 + static_cast<std::uint64_t>(b));
    }
    load.requests.push_back(one);
  }
  return load;
}

struct Outcome {
  std::vector<RequestRecord> records;
  std::int64_t rejected = 0, gaps = 0, steps = 0, busy = 0, read = 0, written = 0, loads = 0, swaps = 0;
  double gap_mean = 0;
};

Outcome play(const Load& load, bool leap) {
  SensitiveCost cost;
  Metrics metrics;
  Outcome out;
  std::int64_t steps = 0, free_from = 0;
  metrics.on_finish = [&](const RequestRecord& r) { out.records.push_back(r); };
  metrics.on_step = [&](const StepRecord& s) {
    RC_ASSERT(s.start_ps >= free_from);
    free_from = s.end_ps;
    RC_ASSERT(++steps < 200'000);  // nothing hangs
  };
  ReplicaSpec spec = load.spec;
  spec.leap = leap;
  spec.movement = std::make_shared<KvMoverSpec>(load.movement);
  Replica replica(spec, cost, metrics);
  std::int64_t now = 0;
  std::uint32_t row = 0;
  for (const One& one : load.requests) {
    now += one.gap_ps;
    replica.advance(now);
    if (!replica.arrive({row++, now, one.input, one.output, one.hashes}).empty()) ++out.rejected;
  }
  replica.finish();
  dynamic_cast<const PagedKv&>(replica.memory()).pool().audit();
  const KvMover& mover = *replica.mover();
  mover.stack().audit();
  const MovementCount& c = mover.count();
  RC_ASSERT(c.found_blocks <= c.looked_up_blocks);
  RC_ASSERT(c.swapped_in_blocks <= c.swapped_out_blocks);
  RC_ASSERT(c.peak_swap_blocks <= load.movement.swap_blocks);
  // Every byte over the host link was asked for by a tier or by swapping.
  std::int64_t loaded = 0;
  for (std::size_t i = 0; i < mover.stack().tiers(); ++i) loaded += mover.stack().count(i).loaded;
  const std::int64_t block = load.movement.block.pieces * mover.stack().piece_bytes();
  out.read = mover.stack().host().use(Direction::read).bytes;
  out.written = mover.stack().host().use(Direction::write).bytes;
  RC_ASSERT(out.read == (loaded + c.swapped_in_blocks) * block);
  RC_ASSERT(loaded * load.movement.block_tokens == c.loaded_tokens);
  // A block crosses once for all tiers that take it from host memory, and only if one does.
  std::int64_t fed = 0, most = 0;
  for (std::size_t i = 0; i < mover.stack().tiers(); ++i) {
    if (i > 0 && !mover.stack().spec(i).write_through) continue;
    const std::int64_t stored = mover.stack().count(i).stored;
    fed += stored, most = std::max(most, stored);
    const TierStack::Count& count = mover.stack().count(i);
    const std::int64_t in = mover.stack().store(i).count().inserted;
    RC_ASSERT(in == stored + count.promoted + count.prefetched);
  }
  RC_ASSERT(out.written >= (most + c.swapped_out_blocks) * block);
  RC_ASSERT(out.written <= (fed + c.swapped_out_blocks) * block);
  RC_ASSERT(metrics.slot_time >= metrics.resident_time + metrics.reserved_time - 1e-6 * metrics.slot_time);
  out.gaps = metrics.itl_ps.count();
  out.gap_mean = metrics.itl_ps.mean();
  out.steps = metrics.steps;
  out.busy = metrics.busy_ps;
  out.loads = c.loads;
  out.swaps = c.swaps_in;
  return out;
}

TEST(MovementProperty, EveryRequestLeavesOnceInOrderOfItsTimesAndBytesAddUp) {
  std::int64_t loads = 0, swaps = 0;
  EXPECT_TRUE(rc::check([&] {
    const Load load = any_load();
    const Outcome out = play(load, true);
    RC_ASSERT(out.records.size() + static_cast<std::size_t>(out.rejected) == load.requests.size());
    std::vector<bool> seen(load.requests.size(), false);
    std::int64_t tokens = 0;
    double decode_ps = 0;
    for (const RequestRecord& r : out.records) {
      RC_ASSERT(!seen[r.row]);
      seen[r.row] = true;
      RC_ASSERT(r.arrival_ps <= r.queued_ps && r.queued_ps <= r.scheduled_ps);
      RC_ASSERT(r.scheduled_ps < r.first_token_ps && r.first_token_ps <= r.finish_ps);
      RC_ASSERT(r.cached_tokens < r.input_tokens);
      tokens += r.output_tokens - 1;
      decode_ps += static_cast<double>(r.finish_ps - r.first_token_ps);
    }
    RC_ASSERT(out.gaps == tokens);
    RC_ASSERT(out.gaps == 0 ||
              std::abs(out.gap_mean * static_cast<double>(out.gaps) - decode_ps) <= 1e-9 * decode_ps);
    loads += out.loads, swaps += out.swaps;
  }));
  EXPECT_GT(loads, 10);
  EXPECT_GT(swaps, 0);
}

TEST(MovementProperty, LeapingOverEqualStepsChangesNothing) {
  EXPECT_TRUE(rc::check([] {
    const Load load = any_load();
    const Outcome a = play(load, true), b = play(load, false);
    RC_ASSERT(a.records.size() == b.records.size());
    for (std::size_t i = 0; i < a.records.size(); ++i) {
      RC_ASSERT(a.records[i].row == b.records[i].row);
      RC_ASSERT(a.records[i].first_token_ps == b.records[i].first_token_ps);
      RC_ASSERT(a.records[i].finish_ps == b.records[i].finish_ps);
      RC_ASSERT(a.records[i].cached_tokens == b.records[i].cached_tokens);
    }
    RC_ASSERT(a.steps == b.steps && a.busy == b.busy);
    RC_ASSERT(a.read == b.read && a.written == b.written);
  }));
}

}  // namespace
}  // namespace tessera
