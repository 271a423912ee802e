// What a replacement policy is to the replay: a class over dense ids, built from (capacity, distinct
// ids), that answers whether a key is resident and that takes accesses. The replay is a template over
// it, so both inline; the registry in prefix_replay.cpp is the only place that knows policies by name.
#pragma once

#include <concepts>
#include <cstdint>

namespace tessera {

inline constexpr std::uint32_t kUnboundedBlocks = ~std::uint32_t{0};

template <class P>
concept ReplacementPolicy = requires(P policy, const P& seen, std::uint32_t id) {
  P(id, id);
  { seen.contains(id) } -> std::same_as<bool>;
  // Touches a resident key or inserts a missing one, evicting one when over capacity; true on a hit.
  { policy.access(id) } -> std::same_as<bool>;
  // The key will be accessed soon. May do nothing.
  seen.prefetch(id);
};

}  // namespace tessera
