// Measured attention against kernels/cost/attention.hpp: prefill and decode share one set of parameters.
#pragma once

#include "validation/kernels.hpp"

namespace tessera {

KernelValidator context_attention_validator(Cost cost = Cost::roofline);
KernelValidator generation_attention_validator(Cost cost = Cost::roofline);

// Fits the attention section on rows of either table or, best, of both together. Decode rows alone leave
// the prefill-only parameters, prefill rows alone leave those that decode determines better.
KernelFit calibrate_attention(Gpu& gpu, std::span<const Row> rows, const FitControl& control = {});

}  // namespace tessera
