// Collectives inside one node. Times in microseconds; bytes are those of one rank's buffer as nccl-tests
// counts.
#pragma once

#include <string>

#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

enum class Collective { all_reduce, all_gather, reduce_scatter, all_to_all };

// NCCL over the GPUs of one node. Switches add floating-point numbers only: integers always take the ring.
OpTime nccl_time(const Gpu& gpu, Collective op, int gpus, double bytes, DType dtype = DType::bf16);
// The serving frameworks' custom all-reduce (one-shot / two-shot), falling to NCCL above its workspace limit.
// graph: replayed in a CUDA graph; otherwise launched eagerly and bounded by the host.
OpTime all_reduce_time(const Gpu& gpu, int gpus, double bytes, bool graph);
double collective_floor_us(const Gpu& gpu, Collective op, int gpus, double bytes, DType dtype = DType::bf16);

}  // namespace tessera
