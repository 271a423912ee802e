// y[m,n] = x[m,k] . W[k,n] through cuBLAS. Equation, source and limits: gemm.cpp.
#pragma once

#include <span>

#include "kernels/cost/op_time.hpp"
#include "kernels/tiles/gemm_tiles.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

struct GemmShape {
  std::int64_t m = 1, n = 1, k = 1;
  DType dtype = DType::bf16;
  // How many copies of the weights cycle through L2 between two uses: 6 in the public tables,
  // a whole model's worth in serving (0 means infinitely many: weights always come from HBM).
  int weight_copies = 0;
};

OpTime gemm_time(const Gpu& gpu, const GemmShape& shape);
// How the library would run it: a tile and a split of k.
struct GemmChoice {
  GemmTile tile{128, 128};
  int splits = 1;
};
inline constexpr std::size_t kMostGemmChoices = 8;
// Fills `choices` with the candidates the closed form with these parameters ranks best, fastest first;
// returns how many there are.
std::size_t gemm_choices(const Gpu& gpu, const GemmParams& params, const GemmShape& shape,
                         std::span<GemmChoice> choices);
// The separate kernel that quantises the activations of an fp8 product; 0 without one.
double gemm_quantise_us(const Gpu& gpu, const GemmParams& params, const GemmShape& shape);

double gemm_floor_us(const Gpu& gpu, const GemmShape& shape);

}  // namespace tessera
