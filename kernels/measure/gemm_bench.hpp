// y[m, n] = x[m, k] W[n, k]^T through the card's GEMM library, W taken from several copies in turn as the
// public tables do (they use six).
#pragma once

#include "kernels/measure/point.hpp"

namespace tessera::measure {

Bench gemm_bench();

}  // namespace tessera::measure
