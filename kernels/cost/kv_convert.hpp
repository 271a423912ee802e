// Attention over entries stored in a format tensor cores do not take (int4, KIVI, NVFP4 before Blackwell).
//
// Entries cross HBM in their own size and are converted on CUDA cores before the 16-bit kernel goes on:
//   t = t16 - t_hbm (1 - stored bytes / 16-bit bytes) + numbers x 2 operations / (SMs x 64 lanes x clock)
// but never below the physics floor of the stored bytes. 64 lanes: the integer rate of A100 and H100 an SM
// and clock, as unpacking is integer work. Nothing is fitted: no public table measures such kernels, so the
// result is marked out of range. Left out: overlap of conversion with loading, which good kernels reach in
// part.
#pragma once

#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

OpTime converted_attention_time(const Gpu& gpu, const OpTime& sixteen_bit, double sixteen_bit_bytes,
                                double stored_bytes, double numbers);

}  // namespace tessera
