// Bandwidths of the card's memories: bytes asked for, in GB/s of 1e9.
//
//   hbm         read, write or copy `bytes` (a copy moves twice that), buffers past the L2
//   l2          every SM reads through one footprint of `bytes` again and again, past L1: L2 while it fits
//   sram        16-byte reads of shared memory, no bank conflicts, `threads` threads on every SM
//   in_flight   HBM against bytes on their way: `ctas_per_4_sms` CTAs on four SMs x 256 threads x `loads` x
//   16
#include "kernels/measure/memory_bench.hpp"

#include "kernels/measure/memory_parts.hpp"

namespace tessera::measure {
namespace {

using cuda::Chunk;
using Work = Bench::Work;

// --- hbm -----------------------------------------------------------------------------------------

cuda::Stream operation_of(const Point& p) {
  return p.text("operation") == "read"    ? cuda::Stream::read
         : p.text("operation") == "write" ? cuda::Stream::write
                                          : cuda::Stream::copy;
}

Work hbm_work(const Point& p) {
  const double bytes = bytes_of(p, "bytes") * (operation_of(p) == cuda::Stream::copy ? 2 : 1);
  return {.bytes = bytes, .footprint = bytes};
}

Sample run_hbm(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t bytes = point.number("bytes"), chunks = bytes / 16;
  const DeviceInfo device = machine.info();
  const cuda::Stream operation = operation_of(point);
  const bool reads = operation != cuda::Stream::write, writes = operation != cuda::Stream::read;
  Sample sample;
  sample.source = "tessera_stream";
  sample.copies = sets_of_buffers(device, hbm_work(point), point.copies);
  std::vector<Source> from;
  std::vector<Buffer<Chunk>> to;
  for (std::int64_t i = 0; i < (reads ? sample.copies : 1); ++i)
    from.emplace_back(machine, reads ? bytes : 16, seed_of(settings, i));
  for (std::int64_t i = 0; i < (writes ? sample.copies : 1); ++i)
    to.emplace_back(machine, writes ? chunks : 1);
  const ElementwiseProgram program{.elements = bytes / 2};
  const std::int64_t ctas = std::min(program.ctas(), device.sms * kCtasPerSm);
  const auto enqueue = [&](std::int64_t op) {
    const auto i = static_cast<std::size_t>(op % sample.copies);
    machine.launch<cuda::StreamKernel>(
        {ctas, cuda::StreamKernel::kThreads, 0},
        {program, operation, from[reads ? i : 0].get(), to[writes ? i : 0].get()});
  };
  to[0].poison();
  enqueue(0);
  machine.finish();
  for (const std::int64_t at : {std::int64_t{0}, chunks / 2, chunks - 1}) {
    if (operation == cuda::Stream::copy) sample.worse(difference(to[0].read(at, 1)[0], from[0].tensor, at));
    if (operation == cuda::Stream::write)
      sample.worse(to[0].read(at, 1)[0].word[0] == static_cast<std::uint32_t>(at) ? 0 : INFINITY);
  }
  sample.times_ms = machine.time_ms(timing_of(settings, sample.copies), enqueue);
  sample.results = {gb_s(hbm_work(point).bytes, sample.median_ms())};
  return sample;
}

// --- l2 ------------------------------------------------------------------------------------------

constexpr std::int64_t kTilesPerCta = 64;  // and more where the grid would leave some of the footprint out

std::int64_t tiles_per_cta(std::int64_t tiles, std::int64_t ctas) {
  return std::max(kTilesPerCta, ceil_div(tiles, ctas));
}

Work l2_work(const Point& p) {
  const double bytes = bytes_of(p, "bytes");
  return {.bytes = std::max(bytes, 132.0 * kCtasPerSm * kTilesPerCta * kFootprintTile * 16),
          .footprint = bytes};
}

Sample run_l2(Machine& machine, const Point& point, const Settings& settings) {
  const std::int64_t tiles = std::max<std::int64_t>(1, point.number("bytes") / (kFootprintTile * 16));
  const DeviceInfo device = machine.info();
  sets_of_buffers(device, l2_work(point), 1);
  const Source from(machine, tiles * kFootprintTile * 16, settings.seed);
  Buffer<Chunk> sink(machine, 1);
  const std::int64_t ctas = device.sms * kCtasPerSm, each = tiles_per_cta(tiles, ctas);
  Sample sample;
  sample.source = "tessera_footprint";
  sample.times_ms = machine.time_ms(timing_of(settings, 1), [&](std::int64_t) {
    machine.launch<cuda::FootprintKernel>({ctas, cuda::FootprintKernel::kThreads, 0},
                                          {from.get(), tiles * kFootprintTile, each, sink.get()});
  });
  const double bytes = static_cast<double>(ctas * each * kFootprintTile) * 16;
  sample.results = {gb_s(bytes, sample.median_ms())};
  return sample;
}

// --- sram ----------------------------------------------------------------------------------------

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

}  // namespace

Bench hbm_bench() { return {"hbm", {"operation", "bytes"}, {"gb_s"}, kExact, hbm_work, run_hbm}; }
Bench l2_bench() { return {"l2", {"bytes"}, {"gb_s"}, kExact, l2_work, run_l2}; }
Bench sram_bench() { return {"sram", {"threads"}, {"gb_s"}, kExact, sram_work, run_sram}; }
Bench in_flight_bench() {
  return {"in_flight",  {"ctas_per_4_sms", "loads"}, {"bytes_in_flight", "gb_s"}, kExact, in_flight_work,
          run_in_flight};
}

}  // namespace tessera::measure
