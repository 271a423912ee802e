// Times of single things rather than rates.
//
//   latency     one thread follows pointers `stride_bytes` apart through `footprint_bytes` from one SM: L1
//   where
//               through_l1 is 1, near and far L2 slices, HBM, TLB misses where the stride is a page
//   launch      an empty kernel, one after another: on a stream as fast as the host enqueues them, or as
//   nodes
//               of a graph as fast as the card takes them
//   host_copy   pinned host memory to or from the card
#include "kernels/measure/memory_bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/measure/memory_parts.hpp"
#include "models/base/check.hpp"
#include "models/base/error.hpp"

namespace tessera::measure {
namespace {

using cuda::Chunk;
using Work = Bench::Work;

// --- latency -------------------------------------------------------------------------------------

constexpr std::int64_t kSamples = 2048;
constexpr std::int64_t kMostWarmLoads = 1 << 13;  // more than L1 has lines
constexpr int kRepeatsAChase = 4;                 // a chase is long: one for so many repeats of the plan

Work latency_work(const Point& p) {
  const double loads = static_cast<double>(kMostWarmLoads + 2 * kSamples);
  return {.bytes = loads * 1e6,  // a load takes a microsecond at worst
          .footprint = bytes_of(p, "footprint_bytes"),
          .ops_a_repeat = 1.0 / kRepeatsAChase};
}

// Every SM reads its part of the footprint once: what fits L2 and the TLBs is there afterwards.
void read_through(Machine& machine, const void* from, std::int64_t bytes, std::int64_t sms, Chunk* sink) {
  const std::int64_t tiles = bytes / (kFootprintTile * 16), ctas = sms * kCtasPerSm;
  if (tiles == 0) return;
  machine.launch<cuda::FootprintKernel>(
      {ctas, cuda::FootprintKernel::kThreads, 0},
      {static_cast<const Chunk*>(from), tiles * kFootprintTile, ceil_div(tiles, ctas), sink});
}

Sample run_latency(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t stride = point.number("stride_bytes") / 8, words = point.number("footprint_bytes") / 8;
  const std::int64_t places = words / stride;
  const DeviceInfo device = machine.info();
  sets_of_buffers(device, latency_work(point), 1);
  if (point.number("sm") >= device.sms)
    throw RunError(fmt::format("sm {}: the card has {}", point.number("sm"), device.sms));
  Buffer<std::uint64_t> chain(machine, words);
  const std::vector<std::int64_t> next = random_cycle(places, settings.seed);
  if (stride * 8 <= 4096) {  // one copy of the whole footprint
    std::vector<std::uint64_t> all(static_cast<std::size_t>(words));
    for (std::int64_t i = 0; i < places; ++i)
      all[static_cast<std::size_t>(i * stride)] =
          static_cast<std::uint64_t>(next[static_cast<std::size_t>(i)] * stride);
    machine.copy(chain.get(), all.data(), chain.bytes());
    machine.finish();
  } else {  // one word a page
    for (std::int64_t i = 0; i < places; ++i) {
      const auto to = static_cast<std::uint64_t>(next[static_cast<std::size_t>(i)] * stride);
      machine.copy(chain.get() + i * stride, &to, sizeof to);
      machine.finish();
    }
  }
  Buffer<std::int32_t> cycles(machine, kSamples), claimed(machine, 1);
  Buffer<std::uint64_t> last(machine, 1);
  Buffer<std::int64_t> ran(machine, 1);
  last.poison();
  Buffer<Chunk> sink(machine, 1);
  read_through(machine, chain.get(), chain.bytes(), device.sms, sink.get());
  const std::int64_t warm = std::min(places, kMostWarmLoads);
  // Enough CTAs that each SM gets one.
  const cuda::Grid grid{4 * device.sms, cuda::ChaseKernel::kThreads, 0};
  Sample sample;
  sample.source = "tessera_chase";
  double mhz = 0;
  std::vector<double> each;
  std::int64_t at = 0;  // where the chain stands, followed here too
  for (int i = 0; i < std::max(1, settings.repeats / kRepeatsAChase); ++i) {
    machine.fill(claimed.get(), 0, claimed.bytes());
    machine.launch<cuda::ChaseKernel>(
        grid, {chain.get(), static_cast<std::uint64_t>(at * stride), warm, kSamples,
               static_cast<int>(point.number("sm")), point.number("through_l1") != 0, cycles.get(),
               last.get(), ran.get(), claimed.get()});
    machine.finish();
    if (claimed.read(0, 1)[0] == 0) throw RunError("no CTA ran on that SM");
    mhz = machine.clock_mhz();
    sample.times_ms.push_back(static_cast<double>(ran.read(0, 1)[0]) / kSamples / (1e3 * mhz));
    each.clear();
    for (const std::int32_t c : cycles.read(0, kSamples)) each.push_back(c);
    for (std::int64_t step = 0; step < warm + 2 * kSamples; ++step) at = next[static_cast<std::size_t>(at)];
    sample.worse(last.read(0, 1)[0] == static_cast<std::uint64_t>(at * stride) ? 0 : INFINITY);
  }
  // Reading the clock costs some cycles in every sample, so levels are set relative to their mean.
  const TwoLevels levels = two_levels(each);
  const double mean = std::accumulate(each.begin(), each.end(), 0.0) / static_cast<double>(each.size());
  const double cycles_mean = sample.median_ms() * 1e3 * mhz;
  sample.results = {cycles_mean, cycles_mean + levels.low - mean, cycles_mean + levels.high - mean,
                    levels.low_share};
  return sample;
}

// --- launch and host copies -----------------------------------------------------------------------

Work launch_work(const Point& p) { return {.ops_a_repeat = bytes_of(p, "launches")}; }

Sample run_launch(Machine& machine, const Point& point, const Settings& settings) {
  Sample sample;
  sample.source = "tessera_empty";
  const bool graph = point.text("mode") == "graph";
  sample.times_ms = machine.time_ms(
      {settings.warmup, settings.repeats, point.number("launches"), graph, graph}, [&](std::int64_t) {
        machine.launch<cuda::EmptyKernel>({1, cuda::EmptyKernel::kThreads, 0}, {0});
      });
  return sample;
}

Work host_copy_work(const Point& p) {
  return {
      .bytes = bytes_of(p, "bytes"), .footprint = bytes_of(p, "bytes"), .over_pcie = true, .ops_a_repeat = 1};
}

Sample run_host_copy(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t bytes = point.number("bytes"), chunks = bytes / 16;
  const bool down = point.text("direction") == "to_device";
  sets_of_buffers(machine.info(), host_copy_work(point), 1);
  Source device(machine, bytes, settings.seed);
  Buffer<Chunk> pinned(machine, chunks, Where::pinned_host);
  if (down) machine.copy(pinned.get(), device.get(), bytes);
  machine.finish();
  // What was drawn lies where the copy comes from, and nowhere else.
  if (down)
    device.tensor.poison();
  else
    std::fill_n(reinterpret_cast<std::uint8_t*>(pinned.get()), bytes, std::uint8_t{0xff});
  const auto enqueue = [&](std::int64_t) {
    if (down)
      machine.copy(device.get(), pinned.get(), bytes);
    else
      machine.copy(pinned.get(), device.get(), bytes);
  };
  enqueue(0);
  machine.finish();
  Sample sample;
  sample.source = "cuda_memcpy";
  for (const std::int64_t at : {std::int64_t{0}, chunks / 2, chunks - 1})
    sample.worse(difference(down ? device.chunk(at) : pinned.get()[at], device.tensor, at));
  sample.times_ms = machine.time_ms({settings.warmup, settings.repeats, 1, false}, enqueue);
  sample.results = {gb_s(static_cast<double>(bytes), sample.median_ms())};
  return sample;
}

}  // namespace

TwoLevels two_levels(std::vector<double> values) {
  TESSERA_CHECK(!values.empty(), "levels of something");
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  double all = 0, before = 0;
  for (const double v : values) all += v;
  // The cut with the most variance between the groups has the least inside them.
  TwoLevels best{all / count, all / count, 1};
  double most = 0;
  for (std::size_t i = 1; i < values.size(); ++i) {
    before += values[i - 1];
    if (values[i] == values[i - 1]) continue;
    const auto n = static_cast<double>(i);
    const double low = before / n, high = (all - before) / (count - n);
    const double between = n * (count - n) * (high - low) * (high - low);
    if (between > most) most = between, best = {low, high, n / count};
  }
  return best;
}

std::vector<std::int64_t> random_cycle(std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> next(static_cast<std::size_t>(count));
  std::iota(next.begin(), next.end(), std::int64_t{0});
  std::mt19937_64 random(seed);
  for (std::size_t i = next.size(); i > 1; --i) std::swap(next[i - 1], next[random() % (i - 1)]);
  return next;
}

Bench latency_bench() {
  return {"latency",
          {"footprint_bytes", "stride_bytes", "through_l1", "sm"},
          {"cycles", "near_cycles", "far_cycles", "near_share"},
          kExact,
          latency_work,
          run_latency};
}
Bench launch_bench() { return {"launch", {"mode", "launches"}, {}, kExact, launch_work, run_launch}; }
Bench host_copy_bench() {
  return {"host_copy", {"direction", "bytes"}, {"gb_s"}, kExact, host_copy_work, run_host_copy};
}

}  // namespace tessera::measure
