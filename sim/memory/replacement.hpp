// What a replacement policy is to the replay: a class over dense ids, built from a CacheSetup, that
// answers whether a key is resident and that takes accesses. The replay is a template over it, so both
// inline; the registry in replacement/registry.cpp is the only place that knows policies by name.
//
// A cache holds `capacity` of something: blocks, or bytes where a trace gives its keys sizes. Policies
// that can do both are templates over Weights: UnitWeights compiles to counting, SizeWeights looks up.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

namespace tessera {

inline constexpr std::uint32_t kUnboundedBlocks = ~std::uint32_t{0};
inline constexpr std::int64_t kUnboundedBytes = INT64_MAX / 4;

struct CacheSetup {
  std::int64_t capacity = 0;
  std::uint32_t distinct = 0;                   // ids are below it
  std::span<const std::uint32_t> sizes{};       // by id, each at most the capacity; empty: all 1
  std::span<const std::uint32_t> costs{};       // of a miss, by id; empty: all 1
  std::span<const std::uint32_t> future{};      // every reference to come, for the oracle alone
  std::int64_t time_to_live = 300'000'000'000;  // ns
  std::uint64_t seed = 0;

  // All that a cache of unit weights can ever hold: what sizes its arrays.
  [[nodiscard]] std::uint32_t most_residents() const {
    return capacity < distinct ? static_cast<std::uint32_t>(capacity) : distinct;
  }
};

template <class P>
concept ReplacementPolicy = requires(P policy, const P& seen, std::uint32_t id, const CacheSetup& setup) {
  P(setup);
  { seen.contains(id) } -> std::same_as<bool>;
  // Touches a resident key or inserts a missing one, evicting when over capacity; true on a hit.
  { policy.access(id) } -> std::same_as<bool>;
  // The key will be accessed soon. May do nothing.
  seen.prefetch(id);
};

// A policy that looks at more than keys: told of each request, its time and its blocks from the front of
// the prompt, before any of them is looked up. On a key trace every key is a request of one block.
template <class P>
concept FollowsRequests = requires(P policy, std::int64_t now_ns, std::span<const std::uint32_t> blocks) {
  policy.begin_request(now_ns, blocks);
};

struct UnitWeights {
  static constexpr bool kUnit = true;
  explicit UnitWeights(const CacheSetup&) {}
  std::int64_t operator()(std::uint32_t) const { return 1; }
};

struct SizeWeights {
  static constexpr bool kUnit = false;
  explicit SizeWeights(const CacheSetup& setup) : sizes(setup.sizes) {}
  std::int64_t operator()(std::uint32_t id) const { return sizes[id]; }
  std::span<const std::uint32_t> sizes;
};

}  // namespace tessera
