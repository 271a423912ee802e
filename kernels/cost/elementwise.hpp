// Small memory-bound kernels between the big ones: norms, rotary embedding, activation, residual adds; and
// the sampler. Equations: elementwise.cpp.
#pragma once

#include <cstdint>

#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

// `kernels` dependent kernels of a replayed graph that read and write `bytes` in all.
OpTime elementwise_time(const Gpu& gpu, int kernels, double bytes);
// Choosing the next token of each sequence from its logits.
OpTime sampler_time(const Gpu& gpu, std::int64_t sequences);

}  // namespace tessera
