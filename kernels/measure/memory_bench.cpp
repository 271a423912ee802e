// Micro-benchmarks. Bandwidths count the bytes asked for, in GB/s of 1e9.
//
//   hbm         read, write or copy `bytes` (a copy moves twice that), buffers past the L2
//   l2          every SM reads through one footprint of `bytes` again and again, past L1: L2 while it fits
//   latency     one thread follows pointers `stride_bytes` apart through `footprint_bytes`: L1 (through_l1 =
//   1),
//               L2 near and far from one SM, HBM, and TLB misses where the stride is a page
//   sram        16-byte reads of shared memory, no bank conflicts, `threads` threads on every SM
//   launch      an empty kernel, one after another on a stream or as nodes of a graph
//   host_copy   pinned host memory to or from the card
//   in_flight   bandwidth of HBM against bytes on their way: `ctas_per_sm` x 256 threads x `loads` x 16
//   kv_gather   blocks of `block_bytes` read in random order, `bytes` in all
//   kv_block_copy   `blocks` pairs of blocks of one pool, random sources and destinations
#include "kernels/measure/memory_bench.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/measure/tensors.hpp"
#include "models/base/check.hpp"
#include "models/base/error.hpp"

namespace tessera::measure {
namespace {

using cuda::Chunk;
using Work = Bench::Work;

constexpr int kCtasPerSm = 8;  // of 256 threads: a full SM
constexpr double kExact = 0;   // copies and loads are exact

double gb_s(double bytes, double ms) { return bytes / (1e6 * ms); }
double bytes_of(const Point& p, const char* column) { return static_cast<double>(p.number(column)); }

std::uint64_t seed_of(const Settings& settings, std::int64_t i) {
  return settings.seed + 100 * static_cast<std::uint64_t>(i);
}

// Random 16-bit numbers seen as chunks of 16 bytes.
struct Source {
  Source(Machine& machine, std::int64_t bytes, std::uint64_t seed)
      : tensor(machine, bytes / 2, cuda::Float16::bf16, seed) {}
  [[nodiscard]] const Chunk* get() const { return reinterpret_cast<const Chunk*>(tensor.get()); }
  RandomTensor tensor;
};

// Largest difference between what lies in `to` from chunk `at` on and the source's numbers from `from` on.
double difference(const Buffer<Chunk>& to, std::int64_t at, const RandomTensor& source, std::int64_t from) {
  const Chunk chunk = to.read(at, 1)[0];
  double worst = 0;
  for (int i = 0; i < cuda::kChunkHalves; ++i) {
    const auto bits = static_cast<std::uint16_t>(chunk.word[i / 2] >> (i % 2 * 16));
    const double got = host::from_half(bits, cuda::Float16::bf16);
    const double off = std::abs(got - source.value(from * cuda::kChunkHalves + i));
    worst = std::isnan(off) ? INFINITY : std::max(worst, off);
  }
  return worst;
}

// --- hbm -----------------------------------------------------------------------------------------

cuda::Stream operation_of(const Point& p) {
  return p.text("operation") == "read"    ? cuda::Stream::read
         : p.text("operation") == "write" ? cuda::Stream::write
                                          : cuda::Stream::copy;
}

Work hbm_work(const Point& p) {
  const double bytes = bytes_of(p, "bytes"), copy = p.text("operation") == "copy" ? 2 : 1;
  return {.bytes = copy * bytes, .footprint = 2 * bytes};
}

Sample run_hbm(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t bytes = point.number("bytes"), chunks = bytes / 16;
  const DeviceInfo device = machine.info();
  Sample sample;
  sample.source = "tessera_stream";
  sample.copies = copies_past_l2(device, 2.0 * static_cast<double>(bytes), point.copies);
  std::vector<Source> from;
  std::vector<Buffer<Chunk>> to;
  for (std::int64_t i = 0; i < sample.copies; ++i) {
    from.emplace_back(machine, bytes, seed_of(settings, i));
    to.emplace_back(machine, chunks);
  }
  const cuda::Stream operation = operation_of(point);
  const ElementwiseProgram program{.elements = bytes / 2};
  const std::int64_t ctas = std::min(program.ctas(), device.sms * kCtasPerSm);
  const auto enqueue = [&](std::int64_t op) {
    const auto i = static_cast<std::size_t>(op % sample.copies);
    machine.launch<cuda::StreamKernel>({ctas, cuda::StreamKernel::kThreads, 0},
                                       {program, operation, from[i].get(), to[i].get()});
  };
  to[0].poison();
  enqueue(0);
  machine.finish();
  for (const std::int64_t at : {std::int64_t{0}, chunks / 2, chunks - 1}) {
    if (operation == cuda::Stream::copy)
      sample.error = std::max(sample.error, difference(to[0], at, from[0].tensor, at));
    if (operation == cuda::Stream::write && to[0].read(at, 1)[0].word[0] != static_cast<std::uint32_t>(at))
      sample.error = INFINITY;
  }
  sample.times_ms = machine.time_ms(timing_of(settings, sample.copies), enqueue);
  sample.results = {gb_s(hbm_work(point).bytes, sample.median_ms())};
  return sample;
}

// --- l2 ------------------------------------------------------------------------------------------

constexpr std::int64_t kFootprintTile =
    std::int64_t{cuda::FootprintKernel::kThreads} * cuda::FootprintKernel::kUnrolled;  // chunks
constexpr std::int64_t kTilesPerCta = 64;

Work l2_work(const Point& p) {
  return {.bytes = 132.0 * kCtasPerSm * kTilesPerCta * kFootprintTile * 16,
          .footprint = bytes_of(p, "bytes")};
}

Sample run_l2(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t tiles = std::max<std::int64_t>(1, point.number("bytes") / (kFootprintTile * 16));
  const DeviceInfo device = machine.info();
  copies_past_l2(device, bytes_of(point, "bytes"), 1);
  const Source from(machine, tiles * kFootprintTile * 16, settings.seed);
  Buffer<Chunk> sink(machine, 1);
  const std::int64_t ctas = device.sms * kCtasPerSm;
  Sample sample;
  sample.source = "tessera_footprint";
  sample.times_ms = machine.time_ms(timing_of(settings, 1), [&](std::int64_t) {
    machine.launch<cuda::FootprintKernel>({ctas, cuda::FootprintKernel::kThreads, 0},
                                          {from.get(), tiles * kFootprintTile, kTilesPerCta, sink.get()});
  });
  const double bytes = static_cast<double>(ctas * kTilesPerCta * kFootprintTile) * 16;
  sample.results = {gb_s(bytes, sample.median_ms())};
  return sample;
}

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
  copies_past_l2(device, bytes_of(point, "footprint_bytes"), 1);
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
    if (last.read(0, 1)[0] != static_cast<std::uint64_t>(at * stride)) sample.error = INFINITY;
  }
  // Reading the clock costs some cycles in every sample, so levels are set relative to their mean.
  const TwoLevels levels = two_levels(each);
  const double mean = std::accumulate(each.begin(), each.end(), 0.0) / static_cast<double>(each.size());
  const double cycles_mean = sample.median_ms() * 1e3 * mhz;
  sample.results = {cycles_mean, cycles_mean + levels.low - mean, cycles_mean + levels.high - mean,
                    levels.low_share};
  return sample;
}

// --- sram, launch, host copies -------------------------------------------------------------------

constexpr std::int64_t kSramRounds = 4096;

double sram_bytes(double sms, double threads) { return sms * threads * kSramRounds * 8 * 16; }
Work sram_work(const Point& p) {
  return {.bytes = sram_bytes(132, bytes_of(p, "threads")) / 16, .ops_a_repeat = 1};  // some 16 times HBM
}

Sample run_sram(Machine& machine, const Point& point, const Settings& settings) {
  const auto threads = static_cast<int>(point.number("threads"));
  Buffer<Chunk> sink(machine, 1);
  const std::int64_t sms = machine.info().sms;
  Sample sample;
  sample.source = "tessera_sram";
  sample.times_ms = machine.time_ms({settings.warmup, settings.repeats, 1, true}, [&](std::int64_t) {
    machine.launch<cuda::SramKernel>({sms, threads, cuda::SramKernel::shared_bytes(threads)},
                                     {kSramRounds, sink.get()});
  });
  sample.results = {gb_s(sram_bytes(static_cast<double>(sms), threads), sample.median_ms())};
  return sample;
}

Work launch_work(const Point& p) { return {.ops_a_repeat = bytes_of(p, "launches")}; }

Sample run_launch(Machine& machine, const Point& point, const Settings& settings) {
  Sample sample;
  sample.source = "tessera_empty";
  const bool graph = point.text("mode") == "graph";
  sample.times_ms = machine.time_ms(
      {settings.warmup, settings.repeats, point.number("launches"), graph}, [&](std::int64_t) {
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
  copies_past_l2(machine.info(), static_cast<double>(bytes), 1);
  Source source(machine, bytes, settings.seed);
  Buffer<Chunk> pinned(machine, chunks, Where::pinned_host), device(machine, chunks);
  machine.copy(pinned.get(), source.get(), bytes);
  machine.finish();
  device.poison();
  const auto enqueue = [&](std::int64_t) {
    if (down)
      machine.copy(device.get(), pinned.get(), bytes);
    else
      machine.copy(pinned.get(), source.get(), bytes);
  };
  if (!down) std::fill_n(reinterpret_cast<std::uint8_t*>(pinned.get()), bytes, std::uint8_t{0xff});
  enqueue(0);
  machine.finish();
  Sample sample;
  sample.source = "cuda_memcpy";
  for (const std::int64_t at : {std::int64_t{0}, chunks / 2, chunks - 1})
    sample.error = std::max(sample.error, difference(down ? device : pinned, at, source.tensor, at));
  sample.times_ms = machine.time_ms({settings.warmup, settings.repeats, 1, false}, enqueue);
  sample.results = {gb_s(static_cast<double>(bytes), sample.median_ms())};
  return sample;
}

// --- in_flight -----------------------------------------------------------------------------------

constexpr double kInFlightBytes = 256e6;  // about, of one op

Work in_flight_work(const Point&) {
  return {.bytes = 4 * kInFlightBytes, .footprint = kInFlightBytes, .ops_a_repeat = 1};  // few are slow
}

template <int kLoads>
Sample in_flight(Machine& machine, const Settings& settings, std::int64_t ctas) {
  using Kernel = cuda::InFlightKernel<kLoads>;
  const std::int64_t turn = ctas * kLoads * Kernel::kThreads * 16;
  const double wanted = std::min(kInFlightBytes, 0.2 * static_cast<double>(machine.info().memory_bytes));
  const std::int64_t turns =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(wanted / static_cast<double>(turn)));
  // One chunk more, which an address the compiler cannot exclude might touch.
  const Source from(machine, turns * turn + 16, settings.seed);
  Buffer<Chunk> sink(machine, 1);
  Sample sample;
  sample.source = "tessera_in_flight";
  sample.times_ms = machine.time_ms({settings.warmup, settings.repeats, 1, true}, [&](std::int64_t) {
    machine.launch<Kernel>({ctas, Kernel::kThreads, 0}, {from.get(), turns, sink.get()});
  });
  sample.results = {static_cast<double>(turn), gb_s(static_cast<double>(turns * turn), sample.median_ms())};
  return sample;
}

Sample run_in_flight(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t loads = point.number("loads");
  // Fewer CTAs than SMs leave SMs idle: ctas_per_sm counts quarters of a CTA.
  const std::int64_t ctas =
      std::max<std::int64_t>(1, machine.info().sms * point.number("ctas_per_4_sms") / 4);
  if (loads == 1) return in_flight<1>(machine, settings, ctas);
  if (loads == 2) return in_flight<2>(machine, settings, ctas);
  if (loads == 4) return in_flight<4>(machine, settings, ctas);
  return in_flight<8>(machine, settings, ctas);
}

// --- KV blocks -----------------------------------------------------------------------------------

std::vector<std::int32_t> shuffled(std::int64_t count, std::uint64_t seed) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(seed);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  return order;
}

Work gather_work(const Point& p) {
  return {.bytes = bytes_of(p, "bytes"), .footprint = bytes_of(p, "bytes")};
}

Sample run_gather(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t block = point.number("block_bytes"), blocks = point.number("bytes") / block;
  const DeviceInfo device = machine.info();
  Sample sample;
  sample.source = "tessera_gather";
  sample.copies = copies_past_l2(device, static_cast<double>(blocks * block), point.copies);
  std::vector<Source> from;
  for (std::int64_t i = 0; i < sample.copies; ++i)
    from.emplace_back(machine, blocks * block, seed_of(settings, i));
  const auto order = uploaded<std::int32_t>(machine, shuffled(blocks, settings.seed));
  Buffer<Chunk> sink(machine, 1);
  sample.times_ms = machine.time_ms(timing_of(settings, sample.copies), [&](std::int64_t op) {
    machine.launch<cuda::GatherKernel>({device.sms * kCtasPerSm, cuda::GatherKernel::kThreads, 0},
                                       {from[static_cast<std::size_t>(op % sample.copies)].get(), order.get(),
                                        blocks, block / 16, sink.get()});
  });
  sample.results = {gb_s(static_cast<double>(blocks * block), sample.median_ms())};
  return sample;
}

Work block_copy_work(const Point& p) {
  const double bytes = 2 * bytes_of(p, "blocks") * bytes_of(p, "block_bytes");
  return {.bytes = bytes, .footprint = bytes};
}

Sample run_block_copy(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t block = point.number("block_bytes"), blocks = point.number("blocks");
  const std::int64_t chunks = block / 16;
  Sample sample;
  sample.source = "tessera_block_copy";
  sample.copies = copies_past_l2(machine.info(), 2.0 * static_cast<double>(blocks * block), point.copies);
  // A pool of twice the blocks: the first half of a random order is copied onto the second.
  const std::vector<std::int32_t> order = shuffled(2 * blocks, settings.seed);
  std::vector<std::int32_t> pairs;
  for (std::int64_t i = 0; i < blocks; ++i) {
    pairs.push_back(order[static_cast<std::size_t>(i)]);
    pairs.push_back(order[static_cast<std::size_t>(blocks + i)]);
  }
  const auto list = uploaded<std::int32_t>(machine, pairs);
  std::vector<Source> from;
  std::vector<Buffer<Chunk>> to;
  for (std::int64_t i = 0; i < sample.copies; ++i) {
    from.emplace_back(machine, 2 * blocks * block, seed_of(settings, i));
    to.emplace_back(machine, 2 * blocks * chunks);
  }
  const ElementwiseProgram program{.elements = blocks * block / 2};
  const auto enqueue = [&](std::int64_t op) {
    const auto i = static_cast<std::size_t>(op % sample.copies);
    machine.launch<cuda::BlockCopyKernel>({program.ctas(), cuda::BlockCopyKernel::kThreads, 0},
                                          {program, from[i].get(), to[i].get(), list.get(), chunks});
  };
  to[0].poison();
  enqueue(0);
  machine.finish();
  for (const std::int64_t i : {std::int64_t{0}, blocks / 2, blocks - 1})
    for (const std::int64_t at : {std::int64_t{0}, chunks - 1}) {
      const std::int64_t source = pairs[static_cast<std::size_t>(2 * i)];
      const std::int64_t target = pairs[static_cast<std::size_t>(2 * i + 1)];
      sample.error = std::max(sample.error,
                              difference(to[0], target * chunks + at, from[0].tensor, source * chunks + at));
    }
  sample.times_ms = machine.time_ms(timing_of(settings, sample.copies), enqueue);
  sample.results = {gb_s(block_copy_work(point).bytes, sample.median_ms())};
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

Bench hbm_bench() { return {"hbm", {"operation", "bytes"}, {"gb_s"}, kExact, hbm_work, run_hbm}; }
Bench l2_bench() { return {"l2", {"bytes"}, {"gb_s"}, kExact, l2_work, run_l2}; }
Bench latency_bench() {
  return {"latency",
          {"footprint_bytes", "stride_bytes", "through_l1", "sm"},
          {"cycles", "near_cycles", "far_cycles", "near_share"},
          kExact,
          latency_work,
          run_latency};
}
Bench sram_bench() { return {"sram", {"threads"}, {"gb_s"}, kExact, sram_work, run_sram}; }
Bench launch_bench() { return {"launch", {"mode", "launches"}, {}, kExact, launch_work, run_launch}; }
Bench host_copy_bench() {
  return {"host_copy", {"direction", "bytes"}, {"gb_s"}, kExact, host_copy_work, run_host_copy};
}
Bench in_flight_bench() {
  return {"in_flight",  {"ctas_per_4_sms", "loads"}, {"bytes_in_flight", "gb_s"}, kExact, in_flight_work,
          run_in_flight};
}
Bench kv_gather_bench() {
  return {"kv_gather", {"block_bytes", "bytes"}, {"gb_s"}, kExact, gather_work, run_gather};
}
Bench kv_block_copy_bench() {
  return {"kv_block_copy", {"block_bytes", "blocks"}, {"gb_s"}, kExact, block_copy_work, run_block_copy};
}

}  // namespace tessera::measure
