// Kernel times of the tile grain for a serving run: the `tile` source.
//
// A run asks for far more batches than could be simulated one by one, so that
//   products, equal decodes and single chunks  are simulated as asked (the step pricer remembers them);
//   ragged decodes, several chunks and mixed batches  cost their closed form times a factor, simulated over
//   closed form, tabulated over (decodes, mean context, longest / mean, deviation of the lengths, new tokens,
//   history, chunks) at powers of the square root of two, of two for history and chunks, of the fourth root
//   for the longest of decodes alone, and at quarters of the mean for the deviation. A cell is filled when
//   first needed, by a batch at its centre: the longest context and log-logistic others of that deviation.
// The closed form carries what varies inside a cell. Error against direct simulation: tests/unit/gpu/
// tile_cost_test.cpp. Not thread-safe; one table may serve the replicas of one run, filled in any order.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/gemm.hpp"

namespace tessera {

class TileCost {
 public:
  explicit TileCost(const Gpu& gpu) : gpu_(gpu) {}

  OpTime gemm(const GemmShape& shape) const;
  OpTime attention(const AttentionShape& shape, const DecodeBatch& decodes,
                   std::span<const PrefillChunk> chunks);

  // The same without the table.
  OpTime simulate(const AttentionShape& shape, const DecodeBatch& decodes,
                  std::span<const PrefillChunk> chunks) const;

  [[nodiscard]] std::size_t cells() const { return factors_.size(); }
  [[nodiscard]] double simulated_s() const { return simulated_s_; }  // wall time spent in simulations

 private:
  double factor(const AttentionShape& shape, const DecodeBatch& decodes,
                std::span<const PrefillChunk> chunks);

  const Gpu& gpu_;
  std::unordered_map<std::uint64_t, double> factors_;
  mutable double simulated_s_ = 0;
};

}  // namespace tessera
