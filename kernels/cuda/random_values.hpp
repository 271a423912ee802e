// Random numbers by place: element i of the tensor with seed s is the same on the device that fills it and on
// the host that checks a result, so that checking needs no copy of gigabytes of inputs.
// Bell-shaped with variance 1: the sum of four uniform numbers (splitmix64 of the place), scaled.
#pragma once

#include "kernels/cuda/lane.hpp"

namespace tessera::cuda {

constexpr float random_value(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t x = seed * 0xd1342543de82ef95u + 0x9e3779b97f4a7c15u * (index + 1);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  int sum = -2 * 65536;
  for (int i = 0; i < 4; ++i) sum += static_cast<int>(x >> (16 * i) & 0xffff);
  return static_cast<float>(sum) * (0x1p-16f * 1.7320508f);
}

template <Float16 kFormat>
struct FillKernel {
  static constexpr int kThreads = 256;
  static constexpr std::int64_t kChunksPerCta = 1024;

  struct Arguments {
    std::uint16_t* to;
    std::int64_t elements;  // a multiple of kChunkHalves
    std::uint64_t seed;
    float scale;
  };
  static constexpr std::int64_t ctas(std::int64_t elements) {
    return (elements + kChunksPerCta * kChunkHalves - 1) / (kChunksPerCta * kChunkHalves);
  }

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    for (std::int64_t i = lane.thread(); i < kChunksPerCta; i += lane.threads()) {
      const std::int64_t first = (lane.block() * kChunksPerCta + i) * kChunkHalves;
      if (first >= a.elements) return;
      Chunk chunk{};
      for (int w = 0; w < 4; ++w) {
        const auto at = static_cast<std::uint64_t>(first + 2 * w);
        chunk.word[w] = lane.template pack<kFormat>(a.scale * random_value(a.seed, at),
                                                    a.scale * random_value(a.seed, at + 1));
      }
      *reinterpret_cast<Chunk*>(a.to + first) = chunk;
    }
  }
};

}  // namespace tessera::cuda
