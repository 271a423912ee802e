// The memory room against slow versions that are right at a glance.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <vector>

#include "sim/memory/block_pool.hpp"
#include "sim/memory/miss_ratio_curve.hpp"
#include "sim/memory/prefix_replay.hpp"
#include "sim/memory/replacement/lru.hpp"

namespace tessera {
namespace {

// A block pool in lists and maps.
class SlowPool {
 public:
  explicit SlowPool(std::uint32_t blocks) {
    for (BlockId id = 0; id < blocks; ++id) free_.push_back(id);
  }
  BlockId allocate() {
    const BlockId block = free_.front();
    free_.pop_front();
    references_[block] = 1;
    for (auto& [hash, holders] : cached_) evictions_ += std::erase(holders, block);
    return block;
  }
  void touch(BlockId block) {
    if (references_[block]++ == 0) free_.remove(block);
  }
  void free(BlockId block) {
    if (--references_[block] == 0) free_.push_back(block);
  }
  void publish(BlockId block, BlockHash hash) { cached_[hash].push_back(block); }
  [[nodiscard]] BlockId lookup(BlockHash hash) const {
    const auto found = cached_.find(hash);
    return found == cached_.end() || found->second.empty() ? kNoBlock : found->second.front();
  }
  [[nodiscard]] bool published(BlockId block) const {
    return std::any_of(cached_.begin(), cached_.end(), [&](const auto& entry) {
      return std::find(entry.second.begin(), entry.second.end(), block) != entry.second.end();
    });
  }
  [[nodiscard]] std::uint32_t references(BlockId block) const {
    const auto found = references_.find(block);
    return found == references_.end() ? 0 : found->second;
  }
  [[nodiscard]] const std::list<BlockId>& free() const { return free_; }
  [[nodiscard]] std::size_t evictions() const { return evictions_; }

 private:
  std::list<BlockId> free_;
  std::map<BlockId, std::uint32_t> references_;
  std::map<BlockHash, std::vector<BlockId>> cached_;  // in order of publication
  std::size_t evictions_ = 0;
};

void expect_equal(const BlockPool& pool, const SlowPool& slow, std::uint32_t blocks, std::uint64_t hashes) {
  std::vector<BlockId> order;
  pool.for_each_free([&](BlockId block) { order.push_back(block); });
  RC_ASSERT(std::equal(order.begin(), order.end(), slow.free().begin(), slow.free().end()));
  RC_ASSERT(pool.free_blocks() == slow.free().size());
  RC_ASSERT(pool.live_blocks() + pool.free_blocks() == blocks);
  for (BlockId id = 0; id < blocks; ++id) RC_ASSERT(pool.references(id) == slow.references(id));
  for (BlockHash hash = 1; hash <= hashes; ++hash) RC_ASSERT(pool.lookup(hash) == slow.lookup(hash));
  RC_ASSERT(static_cast<std::size_t>(pool.evictions()) == slow.evictions());
  pool.audit();
}

// Requests that come with a prompt of known hashes, hit what is cached, hold blocks, grow, share and
// leave; few hashes and few blocks, so that twins, evictions and full pools are common.
RC_GTEST_PROP(BlockPoolProperty, AgreesWithListsAndMapsOverLongRuns, ()) {
  const auto blocks = *rc::gen::inRange<std::uint32_t>(1, 24);
  const auto hashes = *rc::gen::inRange<std::uint64_t>(1, 30);
  // rapidcheck draws the seed of a long run; shrinking thousands of operations would help nobody.
  std::uint64_t state = *rc::gen::arbitrary<std::uint64_t>();
  const auto random = [&state](std::uint64_t below) { return mix64(state += 0x9E3779B97F4A7C15) % below; };

  BlockPool pool(blocks);
  SlowPool slow(blocks);
  std::vector<std::vector<BlockId>> requests;
  int hits = 0;
  for (int step = 0; step < 400; ++step) {
    const std::uint64_t kind = random(10);
    if (kind < 4) {  // a new request: hits, then fresh blocks, published or not
      std::vector<BlockId> table;
      const std::uint64_t length = 1 + random(6);
      BlockHash hash = 1 + random(hashes);
      bool hitting = true;
      for (std::uint64_t i = 0; i < length; ++i, hash = hash % hashes + 1) {
        const BlockId found = pool.lookup(hash);
        RC_ASSERT(found == slow.lookup(hash));
        hitting = hitting && found != kNoBlock && random(8) != 0;  // sometimes recompute: makes twins
        if (hitting) {
          pool.touch(found);
          slow.touch(found);
          table.push_back(found);
          ++hits;
          continue;
        }
        if (pool.free_blocks() == 0) break;
        const BlockId block = pool.allocate();
        RC_ASSERT(block == slow.allocate());
        if (random(4) != 0) {
          pool.publish(block, hash);
          slow.publish(block, hash);
        }
        table.push_back(block);
      }
      if (!table.empty()) requests.push_back(table);
    } else if (kind < 6 && !requests.empty()) {  // a request grows by several blocks at once
      auto& table = requests[random(requests.size())];
      std::vector<BlockId> more(random(pool.free_blocks() + 1));
      pool.allocate_n(more);
      for (const BlockId block : more) RC_ASSERT(block == slow.allocate());
      table.insert(table.end(), more.begin(), more.end());
    } else if (kind < 7 && !requests.empty()) {  // a generated block is full and published late
      const auto& table = requests[random(requests.size())];
      const BlockId block = table[random(table.size())];
      if (!slow.published(block)) {
        const BlockHash hash = 1 + random(hashes);
        pool.publish(block, hash);
        slow.publish(block, hash);
      }
    } else if (!requests.empty()) {  // a request ends or is preempted
      const std::size_t which = random(requests.size());
      pool.free_tail_first(requests[which]);
      for (auto it = requests[which].rbegin(); it != requests[which].rend(); ++it) slow.free(*it);
      requests.erase(requests.begin() + static_cast<std::ptrdiff_t>(which));
    }
    expect_equal(pool, slow, blocks, hashes);
  }
  for (const auto& table : requests) pool.free_tail_first(table);
  RC_ASSERT(pool.free_blocks() == blocks);
  RC_CLASSIFY(hits > 0, "has hits");
  RC_CLASSIFY(pool.evictions() > 0, "has evictions");
}

RC_GTEST_PROP(HashIndexProperty, AgreesWithAMap, ()) {
  const auto blocks = *rc::gen::inRange<std::uint32_t>(1, 60);
  std::uint64_t state = *rc::gen::arbitrary<std::uint64_t>();
  const auto random = [&state](std::uint64_t below) { return mix64(state += 0x9E3779B97F4A7C15) % below; };
  HashIndex index(blocks);
  std::map<BlockId, BlockHash> hash_of;
  std::map<BlockHash, std::vector<BlockId>> holders;
  for (int step = 0; step < 500; ++step) {
    const auto block = static_cast<BlockId>(random(blocks));
    if (const auto known = hash_of.find(block); known != hash_of.end()) {
      index.erase(block);
      std::erase(holders[known->second], block);
      hash_of.erase(known);
    } else {
      const BlockHash hash = 1 + random(40);
      index.insert(block, hash);
      hash_of[block] = hash;
      holders[hash].push_back(block);
    }
    for (BlockHash hash = 1; hash <= 40; ++hash) {
      RC_ASSERT(index.find(hash) == (holders[hash].empty() ? kNoBlock : holders[hash].front()));
    }
  }
}

// The replay rule on a plain list, most recent first.
struct SlowReplay {
  std::int64_t prefix_hits = 0;
  std::int64_t hits = 0;
  std::list<std::uint64_t> cache;

  [[nodiscard]] bool has(std::uint64_t block) const {
    return std::find(cache.begin(), cache.end(), block) != cache.end();
  }
  void request(const std::vector<std::uint64_t>& blocks, std::size_t capacity) {
    for (std::size_t i = 0; i < blocks.size() && has(blocks[i]); ++i) ++prefix_hits;
    for (const std::uint64_t block : blocks) {
      hits += has(block) ? 1 : 0;
      cache.remove(block);
      cache.push_front(block);
      if (cache.size() > capacity) cache.pop_back();
    }
  }
};

using Prompts = std::vector<std::vector<std::uint64_t>>;

rc::Gen<Prompts> any_prompts() {
  return rc::gen::container<Prompts>(
      rc::gen::container<std::vector<std::uint64_t>>(rc::gen::inRange<std::uint64_t>(0, 25)));
}

RC_GTEST_PROP(PrefixReplayProperty, ReplayAndCurveAgreeWithAListAtEveryCapacity, ()) {
  const Prompts prompts = *any_prompts();
  DenseTrace trace;
  for (const auto& blocks : prompts) trace.add_request(blocks);
  const MissRatioCurve curve(trace);
  for (std::uint32_t capacity = 1; capacity <= trace.distinct() + 1; ++capacity) {
    SlowReplay slow;
    for (const auto& blocks : prompts) slow.request(blocks, capacity);
    const CacheResult result = replay<Lru<>>(trace, {.capacity = capacity, .distinct = trace.distinct()});
    RC_ASSERT(result.prefix_hits == slow.prefix_hits);
    RC_ASSERT(result.hits == slow.hits);
    RC_ASSERT(result.hits + result.misses == result.references);
    RC_ASSERT(curve.prefix_hits(capacity) == slow.prefix_hits);
    RC_ASSERT(curve.hits(capacity) == slow.hits);
  }
}

// Long enough that the curve renumbers its times of use many times over.
RC_GTEST_PROP(PrefixReplayProperty, MoreCapacityNeverMeansFewerLruHits, ()) {
  std::uint64_t state = *rc::gen::arbitrary<std::uint64_t>();
  DenseTrace trace;
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t draw = mix64(state += 0x9E3779B97F4A7C15);
    trace.add_key(draw % (1 + (draw >> 32U) % 50));  // skewed
  }
  const MissRatioCurve curve(trace);
  std::int64_t fewer = 0;
  for (std::uint32_t capacity = 1; capacity <= trace.distinct(); ++capacity) {
    const CacheResult result = replay<Lru<>>(trace, {.capacity = capacity, .distinct = trace.distinct()});
    RC_ASSERT(result.hits >= fewer);
    RC_ASSERT(curve.hits(capacity) == result.hits);
    fewer = result.hits;
  }
  RC_ASSERT(fewer == 3000 - static_cast<std::int64_t>(trace.distinct()));
}

}  // namespace
}  // namespace tessera
