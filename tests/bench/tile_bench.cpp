// Speed of the tile grain. "tiles" are the steps of the programs' main loops that were accounted for: runs of
// equal steps end in one event. "events" are those the array processed.
#include <benchmark/benchmark.h>

#include "sim/gpu/attention_sim.hpp"
#include "sim/gpu/program_sim.hpp"

namespace tessera {
namespace {

void report(benchmark::State& state, std::int64_t tiles, std::int64_t events) {
  const auto n = static_cast<double>(state.iterations());
  state.counters["tiles/s"] = benchmark::Counter(static_cast<double>(tiles) * n, benchmark::Counter::kIsRate);
  state.counters["events/s"] =
      benchmark::Counter(static_cast<double>(events) * n, benchmark::Counter::kIsRate);
}

// FA3, causal, 16k tokens, 16 heads of 128: the target is 20 ms.
void BM_Fa3Causal16k(benchmark::State& state) {
  const Gpu gpu = load_gpu("h100-sxm");
  AttentionProblem p;
  p.q_heads = p.kv_heads = 16;
  p.sequences = {{16384, 16384}};
  AttentionSimOptions options;
  options.l2 = L2Mode::on;
  std::int64_t tiles = 0, events = 0;
  for (auto _ : state) {
    const AttentionSimulation sim = simulate_attention(gpu, p, options);
    for (const auto& part : sim.parts)
      tiles = std::max(tiles, part.launch.steps), events = std::max(events, part.launch.events);
  }
  report(state, tiles, events);
}
BENCHMARK(BM_Fa3Causal16k)->Unit(benchmark::kMillisecond);

void BM_Gemm8192(benchmark::State& state) {
  const Gpu gpu = load_gpu("h100-sxm");
  std::int64_t tiles = 0, events = 0;
  for (auto _ : state) {
    const GemmSimulation sim = simulate_gemm_as(gpu, {8192, 8192, 8192}, {{128, 256}, 1});
    tiles = sim.launch.steps, events = sim.launch.events;
  }
  report(state, tiles, events);
}
BENCHMARK(BM_Gemm8192)->Unit(benchmark::kMillisecond);

// The worst case: every CTA a single step, so that nothing runs together.
void BM_GemmOneStep(benchmark::State& state) {
  const Gpu gpu = load_gpu("h100-sxm");
  std::int64_t tiles = 0, events = 0;
  for (auto _ : state) {
    const GemmSimulation sim = simulate_gemm_as(gpu, {32768, 8192, 64}, {{128, 128}, 1});
    tiles = sim.launch.steps, events = sim.launch.events;
  }
  report(state, tiles, events);
}
BENCHMARK(BM_GemmOneStep)->Unit(benchmark::kMillisecond);

void BM_RaggedDecode(benchmark::State& state) {
  const Gpu gpu = load_gpu("h100-sxm");
  AttentionProblem p;
  p.q_heads = 32, p.kv_heads = 8, p.page_tokens = 16;
  for (int i = 0; i < 128; ++i) p.sequences.push_back({1, 200 + 37 * (i * 7919 % 101)});
  std::int64_t tiles = 0, events = 0;
  for (auto _ : state) {
    const AttentionSimulation sim = simulate_attention(gpu, p);
    for (const auto& part : sim.parts)
      tiles = std::max(tiles, part.launch.steps), events = std::max(events, part.launch.events);
  }
  report(state, tiles, events);
}
BENCHMARK(BM_RaggedDecode)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tessera
