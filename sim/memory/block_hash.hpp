// Identities of full KV blocks, 64 bits wide. The identity of a block covers all tokens up to its
// end: h_i = H(h_{i-1}, id_i), where id_i names the block's own content and h_{-1} is kChainRoot.
// Two sequences share block i only if they agree on every block before it (vLLM, block_pool.py).
//
// H xors the mixed id into the parent and mixes again. The mixer is a bijection of 64 bits (the
// finaliser of splitmix64: Steele, Lea, Flood, OOPSLA 2014), so collisions come only from chance:
// about n^2 / 2^65 for n identities, below one in a million for six million blocks.
#pragma once

#include <cstdint>

namespace tessera {

using BlockHash = std::uint64_t;

inline constexpr BlockHash kNoHash = 0;  // "not hashed"; never the identity of a block
inline constexpr BlockHash kChainRoot = 0x7465737365726131;

constexpr std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EB;
  return x ^ (x >> 31U);
}

constexpr BlockHash chain_hash(BlockHash parent, std::uint64_t id) {
  const BlockHash hash = mix64(parent ^ mix64(id + 0x9E3779B97F4A7C15));
  return hash != kNoHash ? hash : 1;
}

// The identity of a block nobody else can share: block `index` of a request without content ids.
// A preempted request finds what is left of its own blocks. Distinct by construction within a run.
constexpr BlockHash unique_hash(std::uint32_t request, std::uint32_t index) {
  const BlockHash hash = mix64((std::uint64_t{request} << 32U | index) ^ 0xD6E8FEB86659FD93);
  return hash != kNoHash ? hash : 1;
}

}  // namespace tessera
