// Every replacement policy against a slow version of its rule, access by access, and what holds between
// policies. The table below has one row a policy.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sim/engine/random.hpp"
#include "sim/memory/replacement/arc.hpp"
#include "sim/memory/replacement/belady.hpp"
#include "sim/memory/replacement/clock.hpp"
#include "sim/memory/replacement/fifo.hpp"
#include "sim/memory/replacement/gdsf.hpp"
#include "sim/memory/replacement/leaf_first.hpp"
#include "sim/memory/replacement/length_aware.hpp"
#include "sim/memory/replacement/lfu.hpp"
#include "sim/memory/replacement/lirs.hpp"
#include "sim/memory/replacement/lru.hpp"
#include "sim/memory/replacement/random.hpp"
#include "sim/memory/replacement/registry.hpp"
#include "sim/memory/replacement/s3_fifo.hpp"
#include "sim/memory/replacement/sieve.hpp"
#include "sim/memory/replacement/slru.hpp"
#include "sim/memory/replacement/ttl.hpp"
#include "sim/memory/replacement/two_q.hpp"
#include "sim/memory/replacement/w_tinylfu.hpp"
#include "tests/support/slow_policies.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;  // ns

// A trace with all that policies differ in: popular keys, scans, loops a little larger than a cache,
// shifts of what is popular, prompts that share prefixes (a key is a node of a tree of prompts).
DenseTrace busy_trace(std::uint64_t seed, std::size_t references, std::uint32_t keys, bool prompts) {
  sim::RandomStream random(seed, 0);
  DenseTrace trace;
  std::size_t made = 0;
  std::int64_t time = 0;
  std::vector<std::uint64_t> blocks;
  while (made < references) {
    const std::uint64_t era = made / 2000;
    const std::uint64_t kind = random() % 10;
    const std::uint64_t run = 1 + random() % (2 * keys / 3);
    const std::uint64_t start = random();
    time += static_cast<std::int64_t>(random() % 40) * kSecond;
    for (std::uint64_t i = 0; i < run && !prompts; ++i, ++made) {
      const std::uint64_t skewed = random() % (1 + random() % (1 + random() % keys));
      const std::uint64_t key = kind < 7 ? skewed + era * 7 : kind == 7 ? start + i : i;
      trace.add_key(key % keys, static_cast<std::uint32_t>(1 + mix64(key % keys) % 9), time);
    }
    if (!prompts) continue;
    // A path down a tree: three roots, two children a node; the key of a node is unique to its path.
    blocks.clear();
    std::uint64_t node = 1 + random() % (1 + random() % 3);
    for (std::uint64_t depth = random() % 7; node < 4U << 6U; --depth) {
      blocks.push_back(node);
      if (depth == 0) break;
      node = node * 4 + random() % (1 + random() % 2);
    }
    made += blocks.size();
    trace.add_request(blocks, time);
  }
  return trace;
}

struct FastPolicy {
  virtual ~FastPolicy() = default;
  virtual void begin_request(std::int64_t time, std::span<const std::uint32_t> blocks) = 0;
  virtual bool access(std::uint32_t id) = 0;
  [[nodiscard]] virtual bool contains(std::uint32_t id) const = 0;
};
template <ReplacementPolicy Policy>
struct Wrapped final : FastPolicy {
  explicit Wrapped(const CacheSetup& setup) : policy(setup) {}
  void begin_request(std::int64_t time, std::span<const std::uint32_t> blocks) override {
    if constexpr (FollowsRequests<Policy>) policy.begin_request(time, blocks);
  }
  bool access(std::uint32_t id) override { return policy.access(id); }
  [[nodiscard]] bool contains(std::uint32_t id) const override { return policy.contains(id); }
  Policy policy;
};

template <class Made, class Base>
std::unique_ptr<Base> make(const CacheSetup& setup) {
  return std::make_unique<Made>(setup);
}
using MakeFast = std::unique_ptr<FastPolicy> (*)(const CacheSetup&);
using MakeSlow = std::unique_ptr<test::SlowPolicy> (*)(const CacheSetup&);

struct Row {
  std::string name;
  MakeFast fast;
  MakeFast fast_sized;  // null: counts only
  MakeSlow slow;
};
template <template <class> class Policy, class Slow>
Row sized(const std::string& name) {
  return {name, make<Wrapped<Policy<UnitWeights>>, FastPolicy>,
          make<Wrapped<Policy<SizeWeights>>, FastPolicy>, make<Slow, test::SlowPolicy>};
}
template <class Policy, class Slow>
Row counting(const std::string& name) {
  return {name, make<Wrapped<Policy>, FastPolicy>, nullptr, make<Slow, test::SlowPolicy>};
}

const std::vector<Row> kRows{
    sized<Fifo, test::SlowFifo>("fifo"),
    sized<Lru, test::SlowLru>("lru"),
    sized<Clock, test::SlowClock>("clock"),
    sized<Sieve, test::SlowSieve>("sieve"),
    sized<Lfu, test::SlowLfu>("lfu"),
    counting<Slru, test::SlowSlru>("slru"),
    counting<TwoQ, test::SlowTwoQ>("2q"),
    counting<Arc, test::SlowArc>("arc"),
    counting<Lirs, test::SlowLirs>("lirs"),
    counting<S3Fifo, test::SlowS3Fifo>("s3-fifo"),
    counting<WTinyLfu, test::SlowWTinyLfu>("w-tinylfu"),
    sized<Gdsf, test::SlowGdsf>("gdsf"),
    counting<LengthAware, test::SlowLengthAware>("length-aware"),
    counting<TimeToLive, test::SlowTtl>("ttl"),
    counting<LeafFirst, test::SlowLeafFirst>("leaf-first"),
    sized<RandomEviction, test::SlowRandom>("random"),
    counting<Belady, test::SlowBelady>("belady"),
};

// Both through the trace: the same answer to every access, and now and then the same keys resident.
void expect_same(const DenseTrace& trace, const CacheSetup& setup, MakeFast make_fast, MakeSlow make_slow) {
  const auto fast = make_fast(setup);
  const auto slow = make_slow(setup);
  std::size_t at = 0;
  for (std::size_t i = 0; i < trace.requests(); ++i) {
    fast->begin_request(trace.time_ns(i), trace.request(i));
    slow->begin_request(trace.time_ns(i));
    for (const std::uint32_t id : trace.request(i)) {
      ASSERT_EQ(fast->contains(id), slow->contains(id)) << "before access " << at << " to key " << id;
      if (!setup.sizes.empty() && setup.sizes[id] > setup.capacity) continue;
      ASSERT_EQ(fast->access(id), slow->access(id)) << "access " << at << " to key " << id;
      ++at;
    }
    if (i % 97 != 0) continue;
    std::int64_t held = 0;
    for (std::uint32_t id = 0; id < trace.distinct(); ++id) {
      ASSERT_EQ(fast->contains(id), slow->contains(id)) << "key " << id << " after access " << at - 1;
      if (fast->contains(id)) held += setup.sizes.empty() ? 1 : setup.sizes[id];
    }
    ASSERT_LE(held, setup.capacity) << "after access " << at - 1;
  }
}

CacheSetup setup_for(const DenseTrace& trace, std::int64_t capacity) {
  CacheSetup setup;
  setup.capacity = capacity;
  setup.distinct = trace.distinct();
  setup.future = trace.references();
  setup.time_to_live = 300 * kSecond;
  setup.seed = 9;
  return setup;
}

class EveryPolicy : public testing::TestWithParam<Row> {};

TEST_P(EveryPolicy, DecidesAsItsRuleSaysOnKeys) {
  for (const std::int64_t capacity : {1, 2, 3, 7, 16, 45, 100}) {
    const DenseTrace trace = busy_trace(static_cast<std::uint64_t>(capacity), 12'000, 60, false);
    SCOPED_TRACE("capacity " + std::to_string(capacity));
    ASSERT_NO_FATAL_FAILURE(expect_same(trace, setup_for(trace, capacity), GetParam().fast, GetParam().slow));
  }
}

// Small and Ghost of S3-FIFO, the HIR share of LIRS and the window of W-TinyLFU exceed their least here.
TEST_P(EveryPolicy, DecidesAsItsRuleSaysWithRoomForItsParts) {
  const DenseTrace trace = busy_trace(5, 12'000, 600, false);
  expect_same(trace, setup_for(trace, 310), GetParam().fast, GetParam().slow);
}

TEST_P(EveryPolicy, DecidesAsItsRuleSaysOnPrompts) {
  for (const std::int64_t capacity : {1, 2, 5, 12, 30}) {
    const DenseTrace trace = busy_trace(static_cast<std::uint64_t>(capacity), 12'000, 60, true);
    SCOPED_TRACE("capacity " + std::to_string(capacity));
    ASSERT_NO_FATAL_FAILURE(expect_same(trace, setup_for(trace, capacity), GetParam().fast, GetParam().slow));
  }
}

TEST_P(EveryPolicy, FillsBytesAsItsRuleSays) {
  if (GetParam().fast_sized == nullptr) {
    EXPECT_EQ(find_policy(GetParam().name).replay_bytes, nullptr);
    return;
  }
  ASSERT_NE(find_policy(GetParam().name).replay_bytes, nullptr);
  for (const std::int64_t bytes : {3, 11, 60, 150}) {
    const DenseTrace trace = busy_trace(static_cast<std::uint64_t>(bytes), 12'000, 60, false);
    CacheSetup setup = setup_for(trace, bytes);
    setup.sizes = trace.sizes();
    std::vector<std::uint32_t> costs;
    for (std::uint32_t id = 0; id < trace.distinct(); ++id) costs.push_back(1 + id % 5);
    setup.costs = costs;
    SCOPED_TRACE("capacity " + std::to_string(bytes));
    ASSERT_NO_FATAL_FAILURE(expect_same(trace, setup, GetParam().fast_sized, GetParam().slow));
  }
}

TEST_P(EveryPolicy, MissesOnlyFirstUsesWhereEverythingFits) {
  const DenseTrace trace = busy_trace(3, 20'000, 500, false);
  CacheSetup setup = setup_for(trace, trace.distinct());
  setup.time_to_live = INT64_MAX;
  const PolicyEntry& policy = find_policy(GetParam().name);
  EXPECT_EQ(policy.replay(trace, setup).misses, trace.distinct());
  setup.capacity = kUnboundedBlocks;
  EXPECT_EQ(policy.replay(trace, setup).misses, trace.distinct());
}

TEST_P(EveryPolicy, HasNoMoreHitsThanBelady) {
  for (const std::int64_t capacity : {5, 50, 200}) {
    const DenseTrace trace = busy_trace(11, 20'000, 400, false);
    const CacheSetup setup = setup_for(trace, capacity);
    EXPECT_LE(find_policy(GetParam().name).replay(trace, setup).hits, replay<Belady>(trace, setup).hits)
        << capacity;
  }
}

TEST_P(EveryPolicy, GivesTheSameResultTwice) {
  const DenseTrace trace = busy_trace(17, 20'000, 400, true);
  const CacheSetup setup = setup_for(trace, 40);
  const PolicyEntry& policy = find_policy(GetParam().name);
  const CacheResult once = policy.replay(trace, setup);
  const CacheResult again = policy.replay(trace, setup);
  EXPECT_EQ(once.hits, again.hits);
  EXPECT_EQ(once.prefix_hits, again.prefix_hits);
}

INSTANTIATE_TEST_SUITE_P(Replacement, EveryPolicy, testing::ValuesIn(kRows), [](const auto& row) {
  std::string name = row.param.name;
  std::erase(name, '-');
  return name;
});

TEST(ReplacementRegistry, EachPolicyHasARowInTheTableAbove) {
  std::vector<std::string> rows, names;
  for (const Row& row : kRows) rows.push_back(row.name);
  for (const PolicyEntry& policy : replacement_policies()) names.emplace_back(policy.name);
  EXPECT_EQ(rows, names);
}

TEST(ReplacementRegistry, BytesAreConservedByEverySizedReplay) {
  const DenseTrace trace = busy_trace(23, 30'000, 300, false);
  std::int64_t all = 0;
  for (const std::uint32_t id : trace.references()) all += trace.sizes()[id];
  for (const PolicyEntry& policy : replacement_policies()) {
    if (policy.replay_bytes == nullptr) continue;
    CacheSetup setup = setup_for(trace, 400);
    setup.sizes = trace.sizes();
    const CacheResult result = policy.replay_bytes(trace, setup);
    EXPECT_EQ(result.referenced_bytes, all) << policy.name;
    EXPECT_EQ(result.hits + result.misses, result.references) << policy.name;
    EXPECT_GT(result.missed_bytes, 0) << policy.name;
    EXPECT_LT(result.missed_bytes, all) << policy.name;
  }
}

}  // namespace
}  // namespace tessera
