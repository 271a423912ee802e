// y[m,n] = x[m,k] . W[k,n] through cuBLAS. Equation, source and limits: gemm.cpp.
#pragma once

#include "kernels/cost/op_time.hpp"
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
double gemm_floor_us(const Gpu& gpu, const GemmShape& shape);

}  // namespace tessera
