// Blocks a second through a hierarchy of tiers: looked up, loaded, written through and evicted.
#include <benchmark/benchmark.h>

#include "sim/memory/tiers/tier_stack.hpp"

namespace tessera {
namespace {

TierSpec tier(const char* name, std::uint32_t blocks, bool device) {
  TierSpec spec;
  spec.name = name;
  spec.capacity_blocks = blocks;
  spec.most_backlog_ps = std::int64_t{1} << 60;
  if (device) {
    spec.device.emplace();
    spec.device->read_gb_s = spec.device->write_gb_s = {50, ""};
    spec.device->both_gb_s = {80, ""};
  }
  return spec;
}

// Prompts of 256 blocks, every second one seen before.
void tier_stack(benchmark::State& state) {
  TierLink::Spec host;
  host.gb_s = {50, 50};
  host.both_gb_s = 83;
  TierStack stack{TierLink(host), {2 << 20, 1}, {tier("host", 20'000, false), tier("drive", 200'000, true)}};
  std::vector<BlockHash> prompt(256);
  std::int64_t now = 0, blocks = 0;
  std::uint64_t next = 0;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    const std::uint64_t which = next % 2 == 0 ? next : mix64(next) % next;
    ++next;
    for (std::size_t i = 0; i < prompt.size(); ++i) prompt[i] = chain_hash(which + 1, i);
    now += 50'000'000'000;
    const std::size_t found = stack.find(prompt);
    if (found > 0) stack.load(std::span(prompt).first(found), 0, now);
    stack.computed(std::span<const BlockHash>(prompt).subspan(found), static_cast<std::uint32_t>(found), now,
                   now);
    blocks += static_cast<std::int64_t>(prompt.size());
  }
  state.SetItemsProcessed(blocks);
}
BENCHMARK(tier_stack);

void tier_link(benchmark::State& state) {
  TierLink::Spec spec;
  spec.gb_s = {50, 50};
  spec.both_gb_s = 83;
  TierLink link(spec);
  std::int64_t now = 0;
  for (auto iteration : state) {
    static_cast<void>(iteration);
    now += 900'000;
    benchmark::DoNotOptimize(
        link.submit(now % 3 == 0 ? Direction::write : Direction::read, 4, 10'000, now, now));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(tier_link);

}  // namespace
}  // namespace tessera
