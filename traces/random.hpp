// Random streams of the generators: one Mersenne twister per entity (arrivals, lengths, a client),
// seeded from the run's seed and the entity's number, so adding an entity shifts no other's draws.
// Distributions come from Boost.Random or are inverse CDFs: those of <random> differ between
// standard libraries.
#pragma once

#include <cstdint>
#include <random>

namespace tessera {

using TraceRng = std::mt19937_64;

enum class Stream : std::uint64_t {
  arrivals = 1,
  lengths = 2,
  order = 3,
  classes = 4,
  keys = 5,
  clients = 1'000
};

// SplitMix64 (Steele, Lea, Flood 2014) spreads neighbouring seeds apart.
constexpr std::uint64_t split_mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

inline TraceRng random_stream(std::uint64_t seed, Stream stream, std::uint64_t entity = 0) {
  return TraceRng(split_mix(split_mix(seed) ^ split_mix(static_cast<std::uint64_t>(stream) + entity)));
}

// Uniform in the open interval (0, 1): an inverse CDF never meets its ends.
inline double uniform_open(TraceRng& rng) { return (static_cast<double>(rng() >> 12) + 0.5) * 0x1p-52; }

// Uniform in [0, n).
inline std::uint64_t uniform_below(TraceRng& rng, std::uint64_t n) {
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % n;
  std::uint64_t x = rng();
  while (x >= limit) x = rng();
  return x % n;
}

}  // namespace tessera
