// Prompts first: what SGLang does without mixed chunks.
#include <gtest/gtest.h>

#include <map>

#include "sim/serving/replica.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMs = 1'000'000'000;

// 10 ms for decodes, 100 ms for prompts.
class TwoCosts final : public StepCost {
 public:
  StepPrice price(const StepShape& shape) override {
    StepPrice price;
    price.base_ps = (shape.chunks.empty() ? 10 : 100) * kMs;
    price.valid_steps = shape.chunks.empty() ? 1000000 : 1;
    return price;
  }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return {}; }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return {}; }
};

struct Engine {
  explicit Engine(const ReplicaSpec& spec) : replica(spec, cost, metrics) {
    metrics.on_finish = [this](const RequestRecord& record) { finished[record.row] = record; };
    metrics.on_step = [this](const StepRecord& step) { steps.push_back(step); };
  }
  void send(std::int64_t at_ms, std::int32_t input, std::int32_t output) {
    replica.advance(at_ms * kMs);
    replica.arrive({row++, at_ms * kMs, input, output, {}});
  }
  TwoCosts cost;
  Metrics metrics;
  Replica replica;
  std::uint32_t row = 0;
  std::map<std::uint32_t, RequestRecord> finished;
  std::vector<StepRecord> steps;
};

ReplicaSpec sglang() {
  ReplicaSpec spec;
  spec.async_depth = 1;
  spec.prefill_first = true;
  spec.max_num_seqs = 4;
  spec.max_batched_tokens = 64;
  spec.memory.kv_blocks = 100;
  return spec;
}

TEST(PrefillFirst, DecodesWaitWhileAPromptRunsInItsChunks) {
  Engine engine(sglang());
  engine.send(0, 10, 4);     // prompt [0, 100), decodes to 110, 120, ..
  engine.send(105, 128, 2);  // two chunks [110, 210), [210, 310), then both decode
  engine.replica.finish();
  ASSERT_GE(engine.steps.size(), 5u);
  EXPECT_EQ(engine.steps[1].decodes, 1);
  EXPECT_EQ(engine.steps[2].decodes, 0);
  EXPECT_EQ(engine.steps[3].decodes, 0);
  EXPECT_EQ(engine.steps[4].decodes, 2);
  EXPECT_EQ(engine.finished.at(1).first_token_ps, 310 * kMs);
  EXPECT_EQ(engine.finished.at(1).finish_ps, 320 * kMs);
  EXPECT_EQ(engine.finished.at(0).finish_ps, 330 * kMs);
}

TEST(PrefillFirst, TheGapOfAHeldDecodeSpansThePromptsBetween) {
  Engine engine(sglang());
  engine.send(0, 10, 4);
  engine.send(105, 128, 2);
  engine.replica.finish();
  // Row 0: 10 (100 -> 110), 210 (110 -> 320), 10. Row 1: 10 (310 -> 320).
  EXPECT_EQ(engine.metrics.itl_ps.count(), 4);
  EXPECT_DOUBLE_EQ(engine.metrics.itl_ps.mean(), 240.0 * kMs / 4);
}

TEST(PrefillFirst, AllPromptsOfABurstComeBeforeAnyDecode) {
  Engine engine(sglang());
  for (int i = 0; i < 4; ++i) engine.send(0, 64, 3);
  engine.replica.finish();
  // The first sees its prompt at 100 and waits for three more: equal requests then end together.
  EXPECT_EQ(engine.finished.at(0).first_token_ps, 100 * kMs);
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_EQ(engine.finished.at(i).finish_ps, 420 * kMs);
}

TEST(PrefillFirst, UnderMemoryPressureEveryRequestStillLeaves) {
  ReplicaSpec spec = sglang();
  spec.memory.kv_blocks = 6;
  spec.memory.reserve_full_prompt = false;
  Engine engine(spec);
  for (int i = 0; i < 4; ++i) engine.send(i, 20, 40);
  engine.replica.finish();
  EXPECT_EQ(engine.finished.size(), 4u);
  EXPECT_GT(engine.metrics.preemptions, 0);
  double decode_ps = 0;
  for (const auto& [row, r] : engine.finished)
    decode_ps += static_cast<double>(r.finish_ps - r.first_token_ps);
  EXPECT_EQ(engine.metrics.itl_ps.count(), 4 * 39);
  EXPECT_NEAR(engine.metrics.itl_ps.mean() * 4 * 39, decode_ps, 1e-6 * decode_ps);
}

}  // namespace
}  // namespace tessera
