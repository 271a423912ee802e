// C = A B on the host by running the GEMM tile program, and the sum of its splits, on real numbers.
// Products accumulate in fp32; C is rounded to `stored` when it leaves the SM.
#pragma once

#include <vector>

#include "kernels/host/run.hpp"
#include "kernels/tiles/gemm_program.hpp"
#include "kernels/tiles/split_sum_program.hpp"

namespace tessera::host {

struct GemmRun {
  std::vector<float> c;  // m x n, row-major
  Traffic traffic;
};

// `a` is m x k, `b` k x n, row-major.
GemmRun run_gemm(const GemmProgram& program, const std::vector<float>& a, const std::vector<float>& b,
                 Format stored);

}  // namespace tessera::host
