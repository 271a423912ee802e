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
// two ratios add up to one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sim/memory/dense_trace.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

struct CacheResult {
  std::string policy;
  std::uint32_t blocks = kUnboundedBlocks;  // capacity
  std::int64_t requests = 0;
  std::int64_t references = 0;  // blocks of all requests; equal to requests on a key trace
  std::int64_t prefix_hits = 0;
  std::int64_t hits = 0;
  std::int64_t misses = 0;
  double requests_per_s = 0;  // of the replay alone; differs from run to run

  [[nodiscard]] double miss_ratio() const { return ratio(misses); }
  [[nodiscard]] double prefix_hit_ratio() const { return ratio(prefix_hits); }

 private:
  [[nodiscard]] double ratio(std::int64_t part) const {
    return references == 0 ? 0 : static_cast<double>(part) / static_cast<double>(references);
  }
};

// The replay itself, for a policy known at compile time.
template <ReplacementPolicy Policy>
CacheResult replay(const DenseTrace& trace, std::uint32_t blocks) {
  CacheResult result;
  result.blocks = blocks;
  result.references = static_cast<std::int64_t>(trace.references().size());
  result.requests = static_cast<std::int64_t>(trace.requests());
  Policy policy(blocks, trace.distinct());
  std::int64_t hits = 0;
  if (trace.keyed()) {
    // State of random keys is seldom in the processor's caches: ask for it some references ahead.
    constexpr std::size_t kAhead = 12;
    const auto ids = trace.references();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (i + kAhead < ids.size()) policy.prefetch(ids[i + kAhead]);
      hits += policy.access(ids[i]) ? 1 : 0;
    }
    result.prefix_hits = hits;
  } else {
    for (std::size_t i = 0; i < trace.requests(); ++i) {
      const auto ids = trace.request(i);
      std::size_t prefix = 0;
      while (prefix < ids.size() && policy.contains(ids[prefix])) ++prefix;
      result.prefix_hits += static_cast<std::int64_t>(prefix);
      for (const std::uint32_t id : ids) hits += policy.access(id) ? 1 : 0;
    }
  }
  result.hits = hits;
  result.misses = result.references - hits;
  return result;
}

// Policies by name.
struct PolicyEntry {
  std::string_view name;
  std::string_view doc;
  CacheResult (*replay)(const DenseTrace& trace, std::uint32_t blocks);
};
std::span<const PolicyEntry> replacement_policies();

// Replays under the policy of that name and times it; an unknown name or no blocks is an InputError.
CacheResult replay(std::string_view policy, const DenseTrace& trace, std::uint32_t blocks);

}  // namespace tessera
