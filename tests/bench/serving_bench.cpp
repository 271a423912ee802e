// The serving loop: a decode step of the set, a full engine over a synthetic load, a priced step.
#include <benchmark/benchmark.h>

#include "sim/engine/random.hpp"
#include "sim/serving/replica.hpp"
#include "sim/serving/roofline_operators.hpp"
#include "sim/serving/step_pricer.hpp"

namespace tessera {
namespace {

class FixedCost final : public StepCost {
 public:
  StepPrice price(const StepShape&) override {
    StepPrice price;
    price.base_ps = 20'000'000'000;
    price.valid_steps = 1 << 20;
    return price;
  }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return {}; }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return {}; }
};

// One decode step of n requests, one of which finishes and is replaced.
void decode_step(benchmark::State& state) {
  const auto n = static_cast<DecodeSet::Slot>(state.range(0));
  DecodeSet set(16, {});
  for (DecodeSet::Slot slot = 0; slot < n; ++slot) set.add(slot, 100 + 37 * slot, 1 + slot);
  std::vector<DecodeSet::Slot> finished;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    finished.clear();
    set.step(finished);
    for (const DecodeSet::Slot slot : finished) set.add(slot, 100 + 37 * slot, n);
    benchmark::DoNotOptimize(set.context_sum());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(decode_step)->Arg(16)->Arg(128)->Arg(1024);

// Requests like those of a chat trace, with or without a limit on KV blocks that forces preemption.
void engine_run(benchmark::State& state) {
  constexpr std::int64_t kRequests = 20'000;
  std::int64_t steps = 0;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    FixedCost cost;
    Metrics metrics;
    ReplicaSpec spec;
    spec.max_num_seqs = 128;
    spec.max_batched_tokens = 512;
    spec.memory.kv_blocks = state.range(0);
    spec.memory.hashed_prompts = false;
    Replica replica(spec, cost, metrics);
    sim::RandomStream random(1, 0);
    std::int64_t now = 0;
    for (std::uint32_t row = 0; row < kRequests; ++row) {
      now += static_cast<std::int64_t>(random() % 400'000'000'000);
      replica.advance(now);
      replica.arrive({row,
                      now,
                      static_cast<std::int32_t>(100 + random() % 2000),
                      static_cast<std::int32_t>(1 + random() % 400),
                      {}});
    }
    replica.finish();
    steps += metrics.steps;
  }
  state.SetItemsProcessed(state.iterations() * kRequests);
  state.counters["steps/s"] = benchmark::Counter(static_cast<double>(steps), benchmark::Counter::kIsRate);
}
BENCHMARK(engine_run)->Arg(20'000)->Arg(2'000)->Unit(benchmark::kMillisecond);

// A step with one prefill chunk, as a loaded engine prices all day.
void priced_step(benchmark::State& state) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  const RankModel rank = partition(load_model("llama-2-7b"), {}, DType::bf16);
  StepPricer pricer(
      roofline_operators(gpu, rank, load_engine_profile(state.range(0) == 0 ? "sarathi" : "vllm-0.19"), 16));
  std::vector<std::int32_t> lengths;
  for (std::int32_t i = 0; i < 64; ++i) lengths.push_back(3000 - 40 * i);
  StepShape shape;
  shape.decodes = 64;
  shape.decode_kv[0] = 64 * 1700;
  shape.lengths = lengths;
  shape.sampled = 64;
  PrefillChunk chunk{448, 0};
  shape.chunks = {&chunk, 1};
  shape.prefill_tokens = chunk.tokens;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    chunk.history = (chunk.history + 448) % 3000;
    shape.decode_kv[0] += 64;
    if (shape.decode_kv[0] > 64 * 2500) shape.decode_kv[0] = 64 * 900;
    benchmark::DoNotOptimize(pricer.price(shape));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(priced_step)->Arg(0)->Arg(1)->ArgName("one_kernel");

}  // namespace
}  // namespace tessera
