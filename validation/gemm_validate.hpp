// Measured GEMMs against kernels/cost/gemm.hpp and sim/gpu/gemm_sim.hpp.
#pragma once

#include "validation/kernels.hpp"

namespace tessera {

KernelValidator gemm_validator(Cost cost = Cost::roofline);

}  // namespace tessera
