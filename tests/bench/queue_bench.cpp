// Which pending-event set? The hold model (Jones, CACM 29(4), 1986): a queue kept at N events, each
// step pops the earliest and pushes it back a drawn delay later. Delays are picoseconds.
//
//   exponential  mean 1 us
//   clocks       1, 32, 33, 141, 280 or 690 clocks of 570 ps: issue, SRAM, L2 and HBM latencies
//   clocks+far   the same, and one event in twenty 10 us to 2 ms away: launches, links
//   steps        10 to 40 ms: steps of serving engines, one event per replica
//
// All three queues give (time, order of push), which tests/property/engine_test.cpp checks for ours.
#include <benchmark/benchmark.h>

#include <array>
#include <bit>
#include <cmath>
#include <queue>
#include <vector>

#include "sim/engine/queue.hpp"
#include "sim/engine/random.hpp"

namespace tessera::sim {
namespace {

class StdQueue {
 public:
  void push(const Event& event) { heap_.push({event, sequence_++}); }
  Event pop() {
    const Event event = heap_.top().event;
    heap_.pop();
    return event;
  }

 private:
  struct Entry {
    Event event;
    std::uint64_t sequence;
    bool operator<(const Entry& other) const {
      return event.time != other.event.time ? event.time > other.event.time : sequence > other.sequence;
    }
  };
  std::priority_queue<Entry> heap_;
  std::uint64_t sequence_ = 0;
};

// Ahuja, Mehlhorn, Orlin, Tarjan, JACM 37(2), 1990: bucket i holds the events whose time first
// differs from the last popped one in bit i - 1. Buckets are spread in order, so ties stay first in,
// first out.
class RadixHeap {
 public:
  void push(const Event& event) { buckets_[bucket_of(event.time)].push_back(event); }
  Event pop() {
    if (next_ == buckets_[0].size()) refill();
    return buckets_[0][next_++];
  }

 private:
  [[nodiscard]] std::size_t bucket_of(Ticks time) const {
    return static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(time ^ last_)));
  }
  void refill() {
    buckets_[0].clear();
    next_ = 0;
    std::size_t first = 1;
    while (buckets_[first].empty()) ++first;
    auto& bucket = buckets_[first];
    last_ = bucket.front().time;
    for (const Event& event : bucket) last_ = event.time < last_ ? event.time : last_;
    for (const Event& event : bucket) push(event);
    bucket.clear();
  }

  std::array<std::vector<Event>, 65> buckets_;
  std::size_t next_ = 0;
  Ticks last_ = 0;
};

enum Delays : std::int64_t { kExponential, kClocks, kClocksAndFar, kSteps };

std::vector<Ticks> draw(Delays kind) {
  constexpr Ticks kClock = 570;
  constexpr std::array<Ticks, 6> kLatencies{1, 32, 33, 141, 280, 690};
  RandomStream random(1, static_cast<std::uint64_t>(kind));
  std::vector<Ticks> delays(1 << 16);
  for (Ticks& delay : delays) {
    const double uniform = std::ldexp(static_cast<double>((random() >> 11U) + 1), -53);
    const Ticks clocks = kLatencies[random() % kLatencies.size()] * kClock;
    switch (kind) {
      case kExponential:
        delay = std::llround(-1e6 * std::log(uniform));
        break;
      case kClocks:
        delay = clocks;
        break;
      case kClocksAndFar:
        delay = uniform < 0.05 ? 10'000'000 + static_cast<Ticks>(random() % 1'990'000'000) : clocks;
        break;
      case kSteps:
        delay = 10'000'000'000 + static_cast<Ticks>(random() % 30'000'000'000);
        break;
    }
  }
  return delays;
}

template <class Queue>
void hold(benchmark::State& state) {
  const std::vector<Ticks> delays = draw(static_cast<Delays>(state.range(0)));
  const auto events = static_cast<std::uint32_t>(state.range(1));
  Queue queue;
  std::size_t next = 0;
  const auto delay = [&] { return delays[next++ % delays.size()]; };
  for (std::uint32_t i = 0; i < events; ++i) queue.push({delay(), i, 0});
  for (std::uint32_t i = 0; i < 4 * events; ++i) {  // let the first draws' transient pass
    Event event = queue.pop();
    event.time += delay();
    queue.push(event);
  }
  for (auto step : state) {
    static_cast<void>(step);
    Event event = queue.pop();
    event.time += delay();
    queue.push(event);
    benchmark::DoNotOptimize(event);
  }
  state.SetItemsProcessed(state.iterations());
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"delays", "events"});
  for (const std::int64_t kind : {kExponential, kClocks, kClocksAndFar}) {
    for (const std::int64_t events : {64, 4096, 262144}) bench->Args({kind, events});
  }
  for (const std::int64_t events : {1, 8, 64, 1024}) bench->Args({kSteps, events});
}

BENCHMARK(hold<StdQueue>)->Apply(sizes);
BENCHMARK(hold<RadixHeap>)->Apply(sizes);
BENCHMARK(hold<EventQueue>)->Apply(sizes);

}  // namespace
}  // namespace tessera::sim
