// One stream of random numbers per simulated entity, so that what one entity draws never shifts
// what another sees, and a run repeats whatever the order of events.
//
// Philox 4x32-10: a counter-based generator. Block number b of the stream of `entity` under `seed`
// is a keyed bijection of the 128-bit counter (b, entity) with key `seed`, so streams of different
// entities cannot overlap and any draw can be reached in O(1).
// Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//
// The class is a standard uniform random bit generator. Use Boost.Random distributions on top:
// those of the standard library give different numbers in different implementations.
#pragma once

#include <array>
#include <cstdint>

namespace tessera::sim {

using PhiloxBlock = std::array<std::uint32_t, 4>;

// Ten rounds of Philox 4x32.
constexpr PhiloxBlock philox(PhiloxBlock counter, std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53;
  constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
  constexpr std::uint32_t kWeyl1 = 0xBB67AE85;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32U) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32U) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key = {key[0] + kWeyl0, key[1] + kWeyl1};
  }
  return counter;
}

class RandomStream {
 public:
  using result_type = std::uint64_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }

  constexpr RandomStream(std::uint64_t seed, std::uint64_t entity)
      : key_{low(seed), high(seed)}, entity_(entity) {}

  constexpr result_type operator()() {
    if (draw_ % 2 == 0) {
      const std::uint64_t block = draw_ / 2;
      words_ = philox({low(block), high(block), low(entity_), high(entity_)}, key_);
    }
    const std::uint64_t half = draw_++ % 2;
    return words_[2 * half] | std::uint64_t{words_[2 * half + 1]} << 32U;
  }

  // Skips n draws in O(1).
  constexpr void discard(std::uint64_t n) {
    if (n == 0) return;
    draw_ += n - 1;
    if (draw_ % 2 == 1) {
      --draw_;
      (*this)();
    }
    (*this)();
  }

 private:
  static constexpr std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  static constexpr std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32U); }

  std::array<std::uint32_t, 2> key_;
  std::uint64_t entity_;
  std::uint64_t draw_ = 0;  // two 64-bit draws per block
  PhiloxBlock words_{};
};

}  // namespace tessera::sim
