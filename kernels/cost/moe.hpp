// Routed experts of one layer on one rank: top-k, permute, two grouped GEMMs, activation, combine.
#pragma once

#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

struct MoeShape {
  std::int64_t tokens = 1;  // tokens entering the layer (all ranks of the expert-parallel group)
  std::int64_t hidden = 1;
  std::int64_t expert_width = 1;  // full width of one expert; divided by tp below
  int experts = 1;
  int top_k = 1;
  int tp = 1;  // tensor-parallel slices of each expert
  int ep = 1;  // ranks the experts are spread over
  bool gated = true;
  DType dtype = DType::bf16;
  double power_law = 0;  // 0: balanced; else the exponent alpha of the expert popularity
};

OpTime moe_time(const Gpu& gpu, const MoeShape& shape);
double moe_floor_us(const Gpu& gpu, const MoeShape& shape);

}  // namespace tessera
