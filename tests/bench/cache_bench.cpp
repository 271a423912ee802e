// Replacement policies in requests per second on the Zipf trace that libCacheSim's figures are for: 10 M
// requests, 1 M objects, alpha 1, dense ids in memory.
#include <benchmark/benchmark.h>

#include <string>

#include "sim/memory/miss_ratio_curve.hpp"
#include "sim/memory/replacement/registry.hpp"
#include "traces/zipf.hpp"

namespace tessera {
namespace {

const DenseTrace& zipf() {
  static const DenseTrace trace = [] {
    const ZipfSpec spec;
    ZipfKeys keys(spec);
    DenseTrace made;
    for (std::int64_t i = 0; i < spec.requests; ++i) made.add_key(keys.next());
    return made;
  }();
  return trace;
}

void policy_zipf(benchmark::State& state, const PolicyEntry& policy) {
  const DenseTrace& trace = zipf();
  CacheSetup setup;
  setup.capacity = state.range(0);
  setup.distinct = trace.distinct();
  setup.future = trace.references();
  double miss_ratio = 0;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    miss_ratio = policy.replay(trace, setup).miss_ratio();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(trace.requests()));
  state.counters["miss_ratio"] = miss_ratio;
}

void lru_curve_zipf(benchmark::State& state) {
  const DenseTrace& trace = zipf();
  for (auto iteration : state) {
    static_cast<void>(iteration);
    benchmark::DoNotOptimize(MissRatioCurve(trace).saturation());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(trace.requests()));
}
BENCHMARK(lru_curve_zipf)->Unit(benchmark::kMillisecond);

const bool registered = [] {
  for (const PolicyEntry& policy : replacement_policies())
    benchmark::RegisterBenchmark(("policy_zipf/" + std::string(policy.name)).c_str(),
                                 [&policy](benchmark::State& state) { policy_zipf(state, policy); })
        ->ArgName("blocks")
        ->Arg(10'000)
        ->Arg(100'000)
        ->Unit(benchmark::kMillisecond);
  return true;
}();

}  // namespace
}  // namespace tessera
