// The output tiles and split-K factors a GEMM library chooses from, and the grid they give.
// bm runs along m (tokens), bn along n (output features); the list is that of cuBLAS as far as its kernel
// names show it, with the short side along m because it computes the transpose for few tokens.
#pragma once

#include <algorithm>
#include <cstdint>

#include "models/base/units.hpp"

namespace tessera {

struct GemmTile {
  int bm, bn;
};

inline constexpr int kGemmKStep = 64;  // elements of k between two barriers of the main loop
inline constexpr GemmTile kGemmTiles[] = {
    {16, 64},   {32, 64},  {64, 64},   {128, 64},  {256, 64},  {16, 128}, {32, 128}, {64, 128}, {128, 128},
    {256, 128}, {64, 256}, {128, 256}, {192, 128}, {128, 192}, {64, 192}, {64, 32},  {128, 32},
};
inline constexpr int kGemmSplits[] = {1, 2, 3, 4, 6, 8, 12, 16, 32};

// A tile whose larger half would be empty is not chosen, except the smallest.
constexpr bool tile_suits(GemmTile t, std::int64_t m, std::int64_t n) {
  return (t.bm <= 16 || t.bm < 2 * m) && (t.bn <= 64 || t.bn < 2 * n);
}
// A split needs at least one step of k for each part.
constexpr bool split_suits(int splits, std::int64_t k) {
  return splits == 1 || k >= std::int64_t{kGemmKStep} * splits;
}

// cuBLAS on Ada and GB20x (tables of torch.nn.functional.linear on L40S and RTX PRO 6000): a product of more
// than one row, of fewer than 2^21 multiplications and at most 8,192 deep is never split, however long its
// loop gets: 2 x 32 x 8192 takes 35 us on an L40S, 2 x 32 x 10240 takes 5. Not seen on A100, H100 and H200.
constexpr bool too_small_to_split(std::int64_t m, std::int64_t n, std::int64_t k) {
  return m > 1 && k <= 8192 && m * n * k < (std::int64_t{1} << 21);
}

constexpr std::int64_t tile_count(GemmTile t, std::int64_t m, std::int64_t n) {
  return ceil_div(m, t.bm) * ceil_div(n, t.bn);
}
// k elements one CTA walks, in whole steps.
constexpr std::int64_t k_per_split(std::int64_t k, int splits) {
  return kGemmKStep * ceil_div(ceil_div(k, kGemmKStep), splits);
}
// CTAs of this tile one SM holds: the accumulators of 32,768 fp32 elements fill half a register file.
constexpr double ctas_per_sm(GemmTile t) { return std::clamp(32768.0 / (t.bm * t.bn), 1.0, 4.0); }

}  // namespace tessera
