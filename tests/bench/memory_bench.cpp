// Block pool and block tables in operations per second.
#include <benchmark/benchmark.h>

#include <vector>

#include "sim/engine/random.hpp"
#include "sim/memory/block_pool.hpp"

namespace tessera {
namespace {

constexpr std::uint32_t kPerRequest = 64;  // 1024 tokens in blocks of 16

// Requests come and go in random order in a pool kept three quarters full; an operation is one block
// allocated or freed. With caching, every block is published and a tenth of the requests hit in full.
void pool_churn(benchmark::State& state) {
  const auto blocks = static_cast<std::uint32_t>(state.range(0));
  const bool caching = state.range(1) != 0;
  BlockPool pool(blocks, {.prefix_caching = caching});
  sim::RandomStream random(1, 0);
  struct Live {
    std::vector<BlockId> blocks = std::vector<BlockId>(kPerRequest);
    std::uint32_t request = 0;
  };
  std::vector<Live> live(blocks * 3 / 4 / kPerRequest);
  std::uint32_t requests = 0;
  const auto admit = [&](Live& slot) {
    slot.request = requests++;
    pool.allocate_n(slot.blocks);
    if (!caching) return;
    for (std::uint32_t i = 0; i < kPerRequest; ++i)
      pool.publish(slot.blocks[i], unique_hash(slot.request, i));
  };
  for (Live& slot : live) admit(slot);
  std::int64_t operations = 0;
  std::vector<std::size_t> order(4096);
  for (std::size_t& which : order) which = random() % live.size();
  std::size_t step = 0;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    Live& slot = live[order[step++ % order.size()]];
    pool.free_tail_first(slot.blocks);
    if (caching && step % 10 == 0) {  // preempted and back at once: finds all of its blocks
      for (std::uint32_t i = 0; i < kPerRequest; ++i) pool.touch(pool.lookup(unique_hash(slot.request, i)));
    } else {
      admit(slot);
    }
    operations += 2 * kPerRequest;
  }
  state.SetItemsProcessed(operations);
}
BENCHMARK(pool_churn)->ArgNames({"blocks", "caching"})->ArgsProduct({{2588, 30'000, 400'000}, {0, 1}});

// One block at a time, as decoding takes them.
void pool_single(benchmark::State& state) {
  BlockPool pool(static_cast<std::uint32_t>(state.range(0)), {.prefix_caching = false});
  std::vector<BlockId> held(1024);
  pool.allocate_n(held);
  std::size_t next = 0;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    BlockId& block = held[next++ % held.size()];
    pool.free(block);
    block = pool.allocate();
  }
  state.SetItemsProcessed(2 * state.iterations());
}
BENCHMARK(pool_single)->ArgName("blocks")->Arg(2588)->Arg(30'000);

}  // namespace
}  // namespace tessera
