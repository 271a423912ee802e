// Replays a block or key trace through a cache under a replacement policy.
//
// Rule, per request: its blocks are looked up in order against the cache as it stood before the
// request; the prefix hit ends at the first miss, since KV behind a gap cannot be used. Then all its
// blocks are touched or inserted front to back, the policy evicting one block whenever the cache is
// over capacity. Nothing is pinned: there are no requests in flight here, unlike in BlockPool.
//
//   prefix hit ratio = blocks in prefix hits / all blocks;  miss ratio = missing accesses / accesses
//
// An access is a hit if its block is resident when it is touched, prefix or not; on a key trace the
// two ratios add up to one. Where the capacity is in bytes, keys have sizes, as many are evicted as it
// takes, and a key larger than the whole cache passes by it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sim/memory/dense_trace.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

struct CacheResult {
  std::string policy;
  std::int64_t capacity = kUnboundedBlocks;  // blocks, or bytes in a replay with sizes
  std::int64_t requests = 0;
  std::int64_t references = 0;  // blocks of all requests; equal to requests on a key trace
  std::int64_t prefix_hits = 0;
  std::int64_t hits = 0;
  std::int64_t misses = 0;
  std::int64_t referenced_bytes = 0;  // in a replay with sizes
  std::int64_t missed_bytes = 0;
  double requests_per_s = 0;  // of the replay alone; differs from run to run

  [[nodiscard]] double miss_ratio() const { return ratio(misses, references); }
  [[nodiscard]] double prefix_hit_ratio() const { return ratio(prefix_hits, references); }
  [[nodiscard]] double byte_miss_ratio() const { return ratio(missed_bytes, referenced_bytes); }

 private:
  static double ratio(std::int64_t part, std::int64_t of) {
    return of == 0 ? 0 : static_cast<double>(part) / static_cast<double>(of);
  }
};

// The replay itself, for a policy known at compile time. With setup.sizes the capacity is in bytes.
template <ReplacementPolicy Policy>
CacheResult replay(const DenseTrace& trace, const CacheSetup& setup) {
  const auto ids = trace.references();
  CacheResult result;
  result.capacity = setup.capacity;
  result.references = static_cast<std::int64_t>(ids.size());
  result.requests = static_cast<std::int64_t>(trace.requests());
  Policy policy(setup);
  std::int64_t hits = 0;
  // State of random keys is seldom in the processor's caches: ask for it some references ahead.
  constexpr std::size_t kAhead = 12;
  if (!setup.sizes.empty()) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::uint32_t size = setup.sizes[ids[i]];
      const bool hit = size <= setup.capacity && policy.access(ids[i]);
      hits += hit ? 1 : 0;
      result.referenced_bytes += size;
      result.missed_bytes += hit ? 0 : size;
    }
    result.prefix_hits = hits;
  } else if (trace.keyed() && !FollowsRequests<Policy>) {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i + kAhead < ids.size()) policy.prefetch(ids[i + kAhead]);
      hits += policy.access(ids[i]) ? 1 : 0;
    }
    result.prefix_hits = hits;
  } else {
    std::size_t at = 0;  // in ids
    for (std::size_t i = 0; i < trace.requests(); ++i) {
      const auto blocks = trace.request(i);
      if constexpr (FollowsRequests<Policy>) policy.begin_request(trace.time_ns(i), blocks);
      std::size_t prefix = 0;
      while (prefix < blocks.size() && policy.contains(blocks[prefix])) ++prefix;
      result.prefix_hits += static_cast<std::int64_t>(prefix);
      for (const std::uint32_t id : blocks) {
        if (at + kAhead < ids.size()) policy.prefetch(ids[at + kAhead]);
        ++at;
        hits += policy.access(id) ? 1 : 0;
      }
    }
  }
  result.hits = hits;
  result.misses = result.references - hits;
  return result;
}

// What a user may choose about a replay by name.
struct ReplayOptions {
  enum class Cost { uniform, size, depth };
  bool bytes = false;         // the capacity is in bytes; only for a key trace
  Cost cost = Cost::uniform;  // of a miss: 1, the key's size, or 1 + its first position in a prompt
  std::int64_t time_to_live_ns = 300'000'000'000;
  std::uint64_t seed = 0;
};

// Replays under the policy of that name (replacement/registry.hpp) and times it. An unknown name, no
// capacity, or a combination that a policy or a trace cannot serve is an InputError.
CacheResult replay(std::string_view policy, const DenseTrace& trace, std::int64_t capacity,
                   const ReplayOptions& options = {});

}  // namespace tessera
