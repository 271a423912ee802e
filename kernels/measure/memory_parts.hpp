// What the micro-benchmarks share: random chunks on the device and their check, rates, grids.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/measure/point.hpp"
#include "kernels/measure/tensors.hpp"

namespace tessera::measure {

using cuda::Chunk;

inline constexpr int kCtasPerSm = 8;  // of 256 threads: a full SM
inline constexpr double kExact = 0;   // copies and loads are exact

inline double gb_s(double bytes, double ms) { return bytes / (1e6 * ms); }
inline double bytes_of(const Point& p, const char* column) { return static_cast<double>(p.number(column)); }

inline std::uint64_t seed_of(const Settings& settings, std::int64_t i) {
  return settings.seed + 100 * static_cast<std::uint64_t>(i);
}

// Random 16-bit numbers seen as chunks of 16 bytes.
struct Source {
  Source(Machine& machine, std::int64_t bytes, std::uint64_t seed)
      : tensor(machine, bytes / 2, cuda::Float16::bf16, seed) {}
  [[nodiscard]] Chunk* get() const { return reinterpret_cast<Chunk*>(tensor.get()); }
  // What lies there now.
  [[nodiscard]] Chunk chunk(std::int64_t at) const {
    const auto halves = tensor.read(at * cuda::kChunkHalves, cuda::kChunkHalves);
    Chunk read;
    std::memcpy(&read, halves.data(), sizeof read);
    return read;
  }
  RandomTensor tensor;
};

// Largest difference between a chunk and the source's numbers from chunk `from` on.
inline double difference(const Chunk& chunk, const RandomTensor& source, std::int64_t from) {
  double worst = 0;
  for (int i = 0; i < cuda::kChunkHalves; ++i) {
    const auto bits = static_cast<std::uint16_t>(chunk.word[i / 2] >> (i % 2 * 16));
    const double got = host::from_half(bits, cuda::Float16::bf16);
    const double off = std::abs(got - source.value(from * cuda::kChunkHalves + i));
    worst = std::isnan(off) ? INFINITY : std::max(worst, off);
  }
  return worst;
}

inline constexpr std::int64_t kFootprintTile =
    std::int64_t{cuda::FootprintKernel::kThreads} * cuda::FootprintKernel::kUnrolled;  // chunks

}  // namespace tessera::measure
