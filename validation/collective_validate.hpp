// Measured collectives against kernels/cost/collective.hpp.
#pragma once

#include "validation/kernels.hpp"

namespace tessera {

KernelValidator nccl_validator();
KernelValidator custom_allreduce_validator();

}  // namespace tessera
