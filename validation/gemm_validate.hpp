// Measured GEMMs against kernels/cost/gemm.hpp.
#pragma once

#include "validation/kernels.hpp"

namespace tessera {

KernelValidator gemm_validator();

}  // namespace tessera
