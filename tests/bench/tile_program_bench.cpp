// How fast tile programs are walked: steps a second of FlashAttention-3 causal, 16k tokens, 16 heads, d 128,
// by a visitor that counts bytes, and CTAs a second of a ragged decode batch, where each is found by
// bisection.
#include <benchmark/benchmark.h>

#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/traffic.hpp"

namespace tessera {
namespace {

constexpr FlashCard kH100{132, 232448, 233472, false};

void BM_WalkFlashAttention3(benchmark::State& state) {
  AttentionProblem p;
  p.q_heads = p.kv_heads = 16;
  p.sequences = {{16384, 16384}};
  const FlashForward f = fa3::launch(p, kH100).forward;
  std::int64_t steps = 0;
  for (auto _ : state) {
    const Traffic t = traffic_of(f);
    benchmark::DoNotOptimize(t);
    steps += t.exps / (f.tile.m * f.tile.n);
  }
  state.SetItemsProcessed(steps);
}
BENCHMARK(BM_WalkFlashAttention3);

void BM_FindRaggedCtas(benchmark::State& state) {
  AttentionProblem p;
  p.q_heads = 32, p.kv_heads = 8;
  p.page_tokens = 16;
  for (int i = 0; i < 512; ++i) p.sequences.push_back({1, 100 + 37 * i});
  const FlashForward f = fa3::launch(p, kH100).forward;
  for (auto _ : state) {
    std::int64_t steps = 0;
    for (std::int64_t i = 0; i < f.ctas(); ++i) steps += f.cta(i).steps;
    benchmark::DoNotOptimize(steps);
  }
  state.SetItemsProcessed(state.iterations() * f.ctas());
}
BENCHMARK(BM_FindRaggedCtas);

}  // namespace
}  // namespace tessera
