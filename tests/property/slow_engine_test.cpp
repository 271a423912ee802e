// Replica keeps aggregates, recycles seats and leaps over equal steps; an engine that walks its requests one
// by one must come to the same times, steps and counts.
#include "tests/support/slow_engine.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

namespace tessera {
namespace {

constexpr std::int64_t kWindow = 24;

// A duration in which every token, context, window and chunk shows.
std::int64_t duration_of(const test::SlowStep& step) {
  std::int64_t ps =
      1'000'000 + 1000 * (static_cast<std::int64_t>(step.contexts.size()) + step.prefill_tokens());
  for (const std::int64_t context : step.contexts) ps += 7 * context + 3 * std::min(context, kWindow);
  for (const auto& [tokens, history] : step.chunks) ps += 5 * tokens * (history + 1);
  return ps + 11 * (static_cast<std::int64_t>(step.contexts.size()) + step.completed_prompts);
}

// The same from the aggregates a Replica hands over.
class AggregateCost final : public StepCost {
 public:
  StepPrice price(const StepShape& shape) override {
    StepPrice price;
    price.base_ps = 1'000'000 + 1000 * shape.tokens() + 7 * shape.decode_kv[0] + 3 * shape.decode_kv[1] +
                    11 * shape.sampled;
    for (const PrefillChunk& chunk : shape.chunks) price.base_ps += 5 * chunk.tokens * (chunk.history + 1);
    return price;  // valid once: contexts below the window grow by more than those above it
  }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return windows_; }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return {}; }

 private:
  std::vector<std::int64_t> windows_{kWindow};
};

struct Case {
  ReplicaSpec spec;
  std::vector<test::SlowEngine::Request> requests;
};

Case any_case() {
  Case c;
  ReplicaSpec& spec = c.spec;
  spec.max_num_seqs = *rc::gen::inRange<std::int64_t>(1, 9);
  spec.max_batched_tokens = spec.max_num_seqs + *rc::gen::inRange<std::int64_t>(0, 80);
  spec.memory.block_tokens = *rc::gen::element<std::int64_t>(1, 3, 16);
  spec.memory.kv_blocks = *rc::gen::inRange<std::int64_t>(4, 180 / spec.memory.block_tokens + 20);
  spec.memory.prefix_cache = *rc::gen::weightedElement<bool>({{1, false}, {3, true}});
  spec.memory.reserve_full_prompt = *rc::gen::arbitrary<bool>();
  spec.memory.allocate_full_prompt = *rc::gen::arbitrary<bool>();
  spec.memory.watermark = *rc::gen::element(0.0, 0.01, 0.25);
  spec.memory.max_model_len = *rc::gen::element<std::int64_t>(0, 0, 90);
  spec.async_depth = *rc::gen::inRange(1, 4);
  spec.prefill_first = *rc::gen::arbitrary<bool>();
  spec.host_base_ps = *rc::gen::element<std::int64_t>(0, 400'000, 3'000'000);
  spec.host_per_sequence_ps = *rc::gen::element<std::int64_t>(0, 20'000);
  spec.prefill_step_floor_ps = *rc::gen::element<std::int64_t>(0, 1'100'000);
  spec.cold_start_ps = *rc::gen::element<std::int64_t>(0, 5'000'000);
  std::int64_t now = 0;
  for (int i = *rc::gen::inRange(1, 30); i > 0; --i) {
    now += *rc::gen::element<std::int64_t>(0, 1, 700'000, 4'000'000);
    test::SlowEngine::Request r;
    r.arrival_ps = now;
    r.input = *rc::gen::inRange(1, 80);
    r.output = *rc::gen::inRange(1, 40);
    if (*rc::gen::weightedElement<bool>({{3, true}, {1, false}})) {  // a prompt of a family, then its own
      const auto family = *rc::gen::inRange<std::uint64_t>(1, 4);
      const auto shared = *rc::gen::inRange<std::uint64_t>(0, 20);
      for (std::uint64_t b = 0; b < static_cast<std::uint64_t>(r.input / spec.memory.block_tokens); ++b)
        r.hashes.push_back(b < shared ? family * 1000 + b : (c.requests.size() + 10) * 1000 + b);
    }
    c.requests.push_back(r);
  }
  return c;
}

TEST(SlowEngine, AgreesWithTheReplicaOnEveryRequestAndStep) {
  EXPECT_TRUE(rc::check([] {
    const Case c = any_case();
    test::SlowEngine slow(c.spec, duration_of);
    slow.requests = c.requests;
    slow.play();
    RC_CLASSIFY(slow.preemptions > 0, "preempts");
    RC_CLASSIFY(slow.evictions() > 0, "evicts");

    AggregateCost cost;
    Metrics metrics;
    std::map<std::uint32_t, RequestRecord> records;
    std::vector<StepRecord> steps;
    metrics.on_finish = [&](const RequestRecord& r) { records[r.row] = r; };
    metrics.on_step = [&](const StepRecord& s) { steps.push_back(s); };
    Replica replica(c.spec, cost, metrics);
    std::uint32_t row = 0;
    for (const auto& r : c.requests) {
      replica.advance(r.arrival_ps);
      const std::string refusal = replica.arrive({row, r.arrival_ps, static_cast<std::int32_t>(r.input),
                                                  static_cast<std::int32_t>(r.output), r.hashes});
      RC_ASSERT(!refusal.empty() == slow.requests[row].rejected);
      ++row;
    }
    replica.finish();

    std::int64_t gaps = 0, gap_ps = 0, longest = 0;
    for (std::uint32_t i = 0; i < c.requests.size(); ++i) {
      const test::SlowEngine::Request& r = slow.requests[i];
      RC_ASSERT(records.contains(i) == !r.rejected);
      if (r.rejected) continue;
      const RequestRecord& record = records[i];
      RC_ASSERT(static_cast<std::int64_t>(r.token_ps.size()) == r.output);
      RC_ASSERT(record.queued_ps == r.queued_ps);
      RC_ASSERT(record.scheduled_ps == r.scheduled_ps);
      RC_ASSERT(record.first_token_ps == r.token_ps.front());
      RC_ASSERT(record.finish_ps == r.token_ps.back());
      RC_ASSERT(record.preemptions == r.preemptions);
      RC_ASSERT(record.cached_tokens == r.cached_tokens);
      for (std::size_t t = 1; t < r.token_ps.size(); ++t, ++gaps) {
        gap_ps += r.token_ps[t] - r.token_ps[t - 1];
        longest = std::max(longest, r.token_ps[t] - r.token_ps[t - 1]);
      }
    }
    RC_ASSERT(steps.size() == slow.steps.size());
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const StepRecord &a = steps[i], &b = slow.steps[i];
      RC_ASSERT(a.start_ps == b.start_ps);
      RC_ASSERT(a.end_ps == b.end_ps);
      RC_ASSERT(a.decodes == b.decodes);
      RC_ASSERT(a.prefill_tokens == b.prefill_tokens);
      RC_ASSERT(a.running == b.running);
      RC_ASSERT(a.waiting == b.waiting);
      RC_ASSERT(a.used_blocks == b.used_blocks);
    }
    RC_ASSERT(metrics.preemptions == slow.preemptions);
    RC_ASSERT(metrics.evictions == slow.evictions());
    RC_ASSERT(metrics.recomputed_tokens == slow.recomputed);
    RC_ASSERT(metrics.itl_ps.count() == gaps);
    RC_ASSERT(metrics.itl_ps.max() == longest);
    // The sum of below 2^53 ps is exact; a mean of it is rounded once, and once more by the product.
    if (gaps > 0)
      RC_ASSERT(std::abs(metrics.itl_ps.mean() * static_cast<double>(gaps) - static_cast<double>(gap_ps)) <=
                1);
  }));
}

}  // namespace
}  // namespace tessera
