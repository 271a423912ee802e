// Blocks of a paged cache as memory sees them.
//
//   kv_gather       blocks of `block_bytes` read in random order, `bytes` in all
//   kv_block_copy   `blocks` pairs of blocks of one pool, random sources and destinations
#include "kernels/measure/memory_bench.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/measure/memory_parts.hpp"

namespace tessera::measure {
namespace {

using cuda::Chunk;
using Work = Bench::Work;

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
  sample.copies = sets_of_buffers(device, gather_work(point), point.copies);
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
  sample.copies = sets_of_buffers(machine.info(), block_copy_work(point), point.copies);
  // A pool of twice the blocks: the first half of a random order is copied onto the second.
  const std::vector<std::int32_t> order = shuffled(2 * blocks, settings.seed);
  std::vector<std::int32_t> pairs;
  for (std::int64_t i = 0; i < blocks; ++i) {
    pairs.push_back(order[static_cast<std::size_t>(i)]);
    pairs.push_back(order[static_cast<std::size_t>(blocks + i)]);
  }
  const auto list = uploaded<std::int32_t>(machine, pairs);
  std::vector<Source> pools;
  for (std::int64_t i = 0; i < sample.copies; ++i)
    pools.emplace_back(machine, 2 * blocks * block, seed_of(settings, i));
  const ElementwiseProgram program{.elements = blocks * block / 2};
  const auto enqueue = [&](std::int64_t op) {
    Chunk* const pool = pools[static_cast<std::size_t>(op % sample.copies)].get();
    machine.launch<cuda::BlockCopyKernel>({program.ctas(), cuda::BlockCopyKernel::kThreads, 0},
                                          {program, pool, pool, list.get(), chunks});
  };
  enqueue(0);  // over other random numbers
  machine.finish();
  for (const std::int64_t i : {std::int64_t{0}, blocks / 2, blocks - 1})
    for (const std::int64_t at : {std::int64_t{0}, chunks - 1}) {
      const std::int64_t source = pairs[static_cast<std::size_t>(2 * i)];
      const std::int64_t target = pairs[static_cast<std::size_t>(2 * i + 1)];
      sample.worse(difference(pools[0].chunk(target * chunks + at), pools[0].tensor, source * chunks + at));
    }
  sample.times_ms = machine.time_ms(timing_of(settings, sample.copies), enqueue);
  sample.results = {gb_s(block_copy_work(point).bytes, sample.median_ms())};
  return sample;
}

}  // namespace

Bench kv_gather_bench() {
  return {"kv_gather", {"block_bytes", "bytes"}, {"gb_s"}, kExact, gather_work, run_gather};
}
Bench kv_block_copy_bench() {
  return {"kv_block_copy", {"block_bytes", "blocks"}, {"gb_s"}, kExact, block_copy_work, run_block_copy};
}

}  // namespace tessera::measure
