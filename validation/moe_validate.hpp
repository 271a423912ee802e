// Measured fused mixture-of-experts layers against kernels/cost/moe.hpp.
#pragma once

#include "validation/kernels.hpp"

namespace tessera {

KernelValidator moe_validator();

}  // namespace tessera
