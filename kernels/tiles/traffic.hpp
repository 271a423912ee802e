// What a tile program moves and computes, by walking it with a visitor that only counts.
//
// Bytes are those between global memory and the SMs. With L2 off they are also the bytes of HBM; the
// difference to the bytes of each tensor read once is what L2 may save.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>

#include "kernels/tiles/program.hpp"

namespace tessera {

struct Traffic {
  using PerTensor = std::array<std::int64_t, static_cast<std::size_t>(Tensor::count)>;
  PerTensor read{}, written{};
  std::int64_t mma_flops = 0;  // executed, padding included
  std::int64_t exps = 0;
  std::int64_t alu_ops = 0;

  [[nodiscard]] std::int64_t read_of(Tensor t) const { return read[static_cast<std::size_t>(t)]; }
  [[nodiscard]] std::int64_t written_of(Tensor t) const { return written[static_cast<std::size_t>(t)]; }
  [[nodiscard]] std::int64_t read_bytes() const {
    return std::accumulate(read.begin(), read.end(), std::int64_t{0});
  }
  [[nodiscard]] std::int64_t written_bytes() const {
    return std::accumulate(written.begin(), written.end(), std::int64_t{0});
  }
  [[nodiscard]] std::int64_t bytes() const { return read_bytes() + written_bytes(); }

  void add_read(Tensor t, std::int64_t bytes) { read[static_cast<std::size_t>(t)] += bytes; }
  void add_written(Tensor t, std::int64_t bytes) { written[static_cast<std::size_t>(t)] += bytes; }
  Traffic& operator+=(const Traffic& other) {
    for (std::size_t t = 0; t < read.size(); ++t) read[t] += other.read[t], written[t] += other.written[t];
    mma_flops += other.mma_flops, exps += other.exps, alu_ops += other.alu_ops;
    return *this;
  }
  friend bool operator==(const Traffic&, const Traffic&) = default;
};

struct CountingVisitor {
  Traffic traffic;

  void load(const TileRef& ref) { traffic.add_read(ref.tensor, ref.bytes()); }
  // An atomic add reads what it changes.
  void store(const TileRef& ref) {
    traffic.add_written(ref.tensor, ref.bytes());
    if (ref.accumulate) traffic.add_read(ref.tensor, ref.bytes());
  }
  void mma(std::int64_t m, std::int64_t n, std::int64_t k) { traffic.mma_flops += 2 * m * n * k; }
  void exp(std::int64_t count) { traffic.exps += count; }
  void alu(std::int64_t count) { traffic.alu_ops += count; }
};

// All CTAs, every step: prologue, steps, epilogue. V sees them in the order of their numbers.
template <class P, class V>
void walk(const P& program, V& visitor) {
  for (std::int64_t i = 0, ctas = program.ctas(); i < ctas; ++i) {
    const typename P::Cta cta = program.cta(i);
    program.prologue(cta, visitor);
    for (std::int64_t s = 0; s < cta.steps; ++s) program.step(cta, s, visitor);
    program.epilogue(cta, visitor);
  }
}

template <class P>
Traffic traffic_of(const P& program) {
  CountingVisitor counter;
  walk(program, counter);
  return counter.traffic;
}

// Of every kernel of a launch that offers for_each(f(name, program)).
template <class Launch>
Traffic traffic_of_launch(const Launch& launch) {
  Traffic sum;
  launch.for_each([&](const char*, const auto& program) { sum += traffic_of(program); });
  return sum;
}

}  // namespace tessera
