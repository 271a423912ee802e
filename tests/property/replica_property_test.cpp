#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <tuple>

#include "sim/serving/kv_branched.hpp"
#include "sim/serving/kv_mapped.hpp"
#include "sim/serving/kv_paged.hpp"
#include "sim/serving/kv_radix.hpp"
#include "sim/serving/replica.hpp"

namespace tessera {
namespace {

// Durations that depend on everything a step shape carries, so a wrong aggregate shows in the times.
class SensitiveCost final : public StepCost {
 public:
  explicit SensitiveCost(std::int64_t valid) : valid_(valid) {}
  StepPrice price(const StepShape& shape) override {
    StepPrice price;
    price.base_ps = 1'000'000 + 1000 * shape.tokens() + 7 * shape.decode_kv[0] + 3 * shape.decode_kv[1] +
                    11 * shape.sampled + 17 * shape.shared.repeated();
    if (!shape.lengths.empty()) price.base_ps += 13 * (shape.lengths.front() + shape.offset);
    for (const PrefillChunk& chunk : shape.chunks) price.base_ps += 5 * chunk.tokens * (chunk.history + 1);
    price.slope_ps = 7 * shape.decodes;
    price.valid_steps = shape.chunks.empty() ? valid_ : 1;
    price.terms.part[0] = static_cast<double>(shape.tokens());
    return price;
  }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return windows_; }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return {}; }

 private:
  std::int64_t valid_;
  std::vector<std::int64_t> windows_{24};
};

struct Load {
  ReplicaSpec spec;
  std::int64_t valid = 1;
  struct One {
    std::int64_t gap_ps;
    std::int32_t input, output;
    std::vector<std::uint64_t> hashes;
  };
  std::vector<One> requests;
};

Load any_load() {
  Load load;
  load.spec.max_num_seqs = *rc::gen::inRange<std::int64_t>(1, 9);
  load.spec.max_batched_tokens = load.spec.max_num_seqs + *rc::gen::inRange<std::int64_t>(0, 100);
  load.spec.memory.block_tokens = *rc::gen::element<std::int64_t>(1, 4, 16);
  load.spec.memory.kv_blocks = *rc::gen::inRange<std::int64_t>(4, 200 / load.spec.memory.block_tokens + 20);
  load.spec.memory.allocator = *rc::gen::weightedElement<KvAllocator>({{4, KvAllocator::paged},
                                                                       {1, KvAllocator::contiguous_max},
                                                                       {1, KvAllocator::contiguous_pow2},
                                                                       {1, KvAllocator::contiguous_oracle},
                                                                       {2, KvAllocator::mapped}});
  if (load.spec.memory.allocator == KvAllocator::mapped) {
    VmmSpec& vmm = load.spec.memory.vmm;
    vmm.token_bytes = *rc::gen::element<std::int64_t>(10, 64);
    vmm.page_bytes = vmm.token_bytes * load.spec.memory.block_tokens + *rc::gen::inRange<std::int64_t>(0, 10);
    vmm.tensors = 2;
    vmm.map_ps = vmm.unmap_ps = *rc::gen::element<std::int64_t>(0, 50'000, 3'000'000);
    vmm.defer_free = *rc::gen::arbitrary<bool>();
    vmm.map_ahead = *rc::gen::arbitrary<bool>();
  }
  if (load.spec.memory.allocator == KvAllocator::paged) {
    load.spec.memory.radix = *rc::gen::weightedElement<bool>({{2, false}, {1, true}});
    if (!load.spec.memory.radix)
      load.spec.memory.branches =
          *rc::gen::inRange<std::int64_t>(1, std::min<std::int64_t>(load.spec.max_num_seqs, 4) + 1);
    load.spec.memory.beam_survival = *rc::gen::element(1.0, 0.8);
  }
  load.spec.cascade = *rc::gen::arbitrary<bool>();
  if (load.spec.memory.allocator == KvAllocator::contiguous_max)
    load.spec.memory.max_model_len = *rc::gen::inRange<std::int64_t>(1, 130);
  load.spec.memory.prefix_cache = *rc::gen::arbitrary<bool>();
  load.spec.memory.reserve_full_prompt = *rc::gen::arbitrary<bool>();
  load.spec.memory.allocate_full_prompt = *rc::gen::arbitrary<bool>();
  load.spec.memory.watermark = *rc::gen::element(0.0, 0.1);
  load.spec.async_depth = *rc::gen::inRange(1, 3);
  load.spec.prefill_first = *rc::gen::arbitrary<bool>();
  load.spec.host_base_ps = *rc::gen::element<std::int64_t>(0, 400'000, 3'000'000);
  load.spec.host_per_sequence_ps = *rc::gen::element<std::int64_t>(0, 20'000);
  load.valid = *rc::gen::element<std::int64_t>(1, 3, 1000);
  const auto count = *rc::gen::inRange(1, 40);
  for (int i = 0; i < count; ++i) {
    Load::One one;
    one.gap_ps = *rc::gen::inRange<std::int64_t>(0, 8'000'000);
    one.input = *rc::gen::inRange(1, 80);
    one.output = *rc::gen::inRange(1, 40);
    if (*rc::gen::arbitrary<bool>()) {  // a few shared prompts
      const auto family = *rc::gen::inRange<std::uint64_t>(1, 4);
      for (std::int64_t b = 0; b < one.input / load.spec.memory.block_tokens; ++b)
        one.hashes.push_back(family * 1000 + static_cast<std::uint64_t>(b));
    }
    load.requests.push_back(one);
  }
  return load;
}

struct Outcome {
  std::vector<RequestRecord> records;
  std::vector<StepRecord> steps;
  std::int64_t rejected = 0, gaps = 0, step_count = 0, busy = 0;
  std::int64_t prefill_tokens = 0, recomputed = 0, preemptions = 0;
  double resident = 0, blocks = 0, external = 0, term = 0, gap_mean = 0;
};

Outcome play(const Load& load, bool leap) {
  SensitiveCost cost(load.valid);
  Metrics metrics;
  Outcome out;
  metrics.on_finish = [&](const RequestRecord& r) { out.records.push_back(r); };
  metrics.on_step = [&](const StepRecord& s) { out.steps.push_back(s); };
  ReplicaSpec spec = load.spec;
  spec.leap = leap;
  Replica replica(spec, cost, metrics);
  std::int64_t now = 0;
  std::uint32_t row = 0;
  for (const Load::One& one : load.requests) {
    now += one.gap_ps;
    replica.advance(now);
    if (!replica.arrive({row++, now, one.input, one.output, one.hashes}).empty()) ++out.rejected;
  }
  replica.finish();
  if (const auto* paged = dynamic_cast<const PagedKv*>(&replica.memory())) paged->pool().audit();
  if (const auto* branched = dynamic_cast<const BranchedKv*>(&replica.memory())) branched->pool().audit();
  if (const auto* radix = dynamic_cast<const RadixKv*>(&replica.memory())) radix->audit();
  if (const auto* mapped = dynamic_cast<const MappedKv*>(&replica.memory())) mapped->audit();
  out.gaps = metrics.itl_ps.count();
  out.gap_mean = metrics.itl_ps.mean();
  out.step_count = metrics.steps;
  out.busy = metrics.busy_ps;
  out.prefill_tokens = metrics.prefill_tokens;
  out.recomputed = metrics.recomputed_tokens;
  out.preemptions = metrics.preemptions;
  out.resident = metrics.resident_time;
  out.blocks = metrics.block_time;
  out.term = metrics.terms.part[0];
  RC_ASSERT(metrics.slot_time >= metrics.resident_time + metrics.reserved_time);
  RC_ASSERT(metrics.external_time >= 0);
  RC_ASSERT(metrics.duplicate_time >= 0 && metrics.duplicate_time <= metrics.resident_time);
  out.external = metrics.external_time;
  return out;
}

TEST(ReplicaProperty, EveryRequestThatEntersLeavesOnceInOrderOfItsOwnTimes) {
  EXPECT_TRUE(rc::check([] {
    const Load load = any_load();
    const Outcome out = play(load, true);
    RC_ASSERT(out.records.size() + static_cast<std::size_t>(out.rejected) == load.requests.size());
    std::vector<bool> seen(load.requests.size(), false);
    std::int64_t tokens = 0;
    double decode_ps = 0;
    for (const RequestRecord& r : out.records) {
      RC_ASSERT(!seen[r.row]);
      seen[r.row] = true;
      RC_ASSERT(r.arrival_ps <= r.queued_ps);
      RC_ASSERT(r.queued_ps <= r.scheduled_ps);
      RC_ASSERT(r.scheduled_ps < r.first_token_ps);
      RC_ASSERT(r.first_token_ps <= r.finish_ps);
      RC_ASSERT(r.cached_tokens < r.input_tokens);
      const std::int64_t sequences = load.spec.memory.branches;
      tokens += sequences * (r.output_tokens - 1);
      decode_ps += static_cast<double>(sequences * (r.finish_ps - r.first_token_ps));
    }
    RC_ASSERT(out.gaps == tokens);
    RC_ASSERT(out.gaps == 0 ||
              std::abs(out.gap_mean * static_cast<double>(out.gaps) - decode_ps) <= 1e-9 * decode_ps);
  }));
}

// What is computed in prefill is computed for the first time, or again, or is the one token of each sequence
// that a preempted decode had emitted and not stored.
TEST(ReplicaProperty, TokensComputedAgainAreCountedOnce) {
  EXPECT_TRUE(rc::check([] {
    const Load load = any_load();
    const Outcome out = play(load, true);
    std::int64_t first_time = 0;
    for (const RequestRecord& r : out.records) first_time += r.input_tokens - r.cached_tokens;
    // Found again after a preemption is not computed at all, so this bounds from below only without a cache.
    RC_ASSERT(out.recomputed >= 0);
    RC_ASSERT(out.prefill_tokens <=
              first_time + out.recomputed + load.spec.memory.branches * out.preemptions);
    if (!load.spec.memory.prefix_cache) RC_ASSERT(out.prefill_tokens >= first_time + out.recomputed);
    if (out.preemptions == 0) RC_ASSERT(out.recomputed == 0);
  }));
}

// Beams under pressure: answers recomputed in several chunks, copies and drops in the same step.
TEST(ReplicaProperty, BeamsInScarceMemoryLoseNothing) {
  EXPECT_TRUE(rc::check([] {
    Load load;
    load.spec.memory.branches = *rc::gen::inRange<std::int64_t>(2, 5);
    load.spec.memory.beam_survival = *rc::gen::element(0.0, 0.3, 0.7, 0.94);
    load.spec.memory.block_tokens = *rc::gen::element<std::int64_t>(1, 2, 4, 16);
    load.spec.memory.kv_blocks = 240 / load.spec.memory.block_tokens + *rc::gen::inRange<std::int64_t>(4, 13);
    load.spec.memory.seed = *rc::gen::arbitrary<std::uint64_t>();
    load.spec.memory.prefix_cache = *rc::gen::arbitrary<bool>();
    load.spec.max_num_seqs = load.spec.memory.branches * *rc::gen::element<std::int64_t>(1, 2, 3, 5);
    load.spec.max_batched_tokens = load.spec.max_num_seqs + *rc::gen::element<std::int64_t>(0, 1, 5, 17);
    for (int i = *rc::gen::inRange(4, 20); i > 0; --i)
      load.requests.push_back({1'000'000, *rc::gen::inRange(1, 60), *rc::gen::inRange(2, 60), {}});
    const Outcome out = play(load, true);
    RC_ASSERT(out.records.size() + static_cast<std::size_t>(out.rejected) == load.requests.size());
  }));
}

TEST(ReplicaProperty, StepsKeepTheBudgetTheSeatsAndTheOrderOfTime) {
  EXPECT_TRUE(rc::check([] {
    const Load load = any_load();
    const Outcome out = play(load, false);
    std::int64_t free_from = 0;
    for (const StepRecord& s : out.steps) {
      RC_ASSERT(s.decodes + s.prefill_tokens <= load.spec.max_batched_tokens);
      RC_ASSERT(s.decodes + s.prefill_tokens > 0);
      RC_ASSERT(!load.spec.prefill_first || s.decodes == 0 || s.prefill_tokens == 0);
      RC_ASSERT(s.running * load.spec.memory.branches <= load.spec.max_num_seqs);
      RC_ASSERT(s.used_blocks <= load.spec.memory.kv_blocks);
      RC_ASSERT(s.start_ps >= free_from);
      RC_ASSERT(s.end_ps > s.start_ps);
      free_from = s.end_ps;
    }
  }));
}

TEST(ReplicaProperty, LeapingOverEqualStepsChangesNothing) {
  EXPECT_TRUE(rc::check([] {
    const Load load = any_load();
    const Outcome leap = play(load, true);
    const Outcome step = play(load, false);
    RC_ASSERT(leap.records.size() == step.records.size());
    for (std::size_t i = 0; i < leap.records.size(); ++i) {
      const RequestRecord &a = leap.records[i], &b = step.records[i];
      RC_ASSERT(std::tie(a.row, a.queued_ps, a.scheduled_ps, a.first_token_ps, a.finish_ps, a.preemptions,
                         a.cached_tokens) == std::tie(b.row, b.queued_ps, b.scheduled_ps, b.first_token_ps,
                                                      b.finish_ps, b.preemptions, b.cached_tokens));
    }
    RC_ASSERT(leap.steps.size() == step.steps.size());
    for (std::size_t i = 0; i < leap.steps.size(); ++i) {
      RC_ASSERT(leap.steps[i].start_ps == step.steps[i].start_ps);
      RC_ASSERT(leap.steps[i].end_ps == step.steps[i].end_ps);
      RC_ASSERT(leap.steps[i].used_blocks == step.steps[i].used_blocks);
    }
    RC_ASSERT(leap.busy == step.busy);
    RC_ASSERT(leap.resident == step.resident);
    RC_ASSERT(leap.blocks == step.blocks);
    RC_ASSERT(leap.external == step.external);
    RC_ASSERT(leap.term == step.term);
    RC_ASSERT(leap.gaps == 0 || leap.gap_mean == step.gap_mean);
  }));
}

}  // namespace
}  // namespace tessera
