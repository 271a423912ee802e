// One HBM channel in requests per second of one core.
#include <benchmark/benchmark.h>

#include "sim/memory/hbm/gather.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kRequests = 200'000;

const char* memory_name(const benchmark::State& state) {
  return state.range(0) == 2 ? "hbm2-2.0" : "hbm3-6.4";
}

template <class Make>
void saturate(benchmark::State& state, Make make) {
  const HbmSpec spec = load_hbm(memory_name(state));
  const auto pattern = make(spec);
  double percent = 0;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    HbmChannel channel(spec);
    percent = figures_of(spec, run_saturated(channel, pattern, kRequests)).percent_of_peak;
  }
  state.SetItemsProcessed(state.iterations() * kRequests);
  state.counters["percent_of_peak"] = percent;
}

void hbm_stream(benchmark::State& state) {
  saturate(state, [](const HbmSpec& spec) { return HbmStream(HbmShape(spec)); });
}
void hbm_sequential(benchmark::State& state) {
  saturate(state, [](const HbmSpec& spec) { return HbmSequential(HbmShape(spec)); });
}
void hbm_random(benchmark::State& state) {
  saturate(state, [](const HbmSpec& spec) { return HbmRandom(HbmShape(spec), 1); });
}
void hbm_gather(benchmark::State& state) {
  saturate(state, [](const HbmSpec& spec) { return HbmGather(spec, {}); });
}
void hbm_update(benchmark::State& state) {
  saturate(state, [](const HbmSpec& spec) { return HbmMixed<HbmStream>(HbmStream(HbmShape(spec)), 0.5); });
}
BENCHMARK(hbm_stream)->ArgName("hbm")->Arg(2)->Arg(3)->Unit(benchmark::kMillisecond);
BENCHMARK(hbm_sequential)->ArgName("hbm")->Arg(2)->Arg(3)->Unit(benchmark::kMillisecond);
BENCHMARK(hbm_random)->ArgName("hbm")->Arg(2)->Arg(3)->Unit(benchmark::kMillisecond);
BENCHMARK(hbm_gather)->ArgName("hbm")->Arg(2)->Arg(3)->Unit(benchmark::kMillisecond);
BENCHMARK(hbm_update)->ArgName("hbm")->Arg(2)->Arg(3)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tessera
