// Parameters of the GEMM closed form (kernels/cost/gemm.hpp).
#pragma once

#include <string>

#include "models/base/spec.hpp"

namespace tessera {

// fp8 with per-tensor activation scales: a kernel of its own reads bf16 activations and writes fp8.
struct Fp8GemmParams {
  double quantise_us = 3;          // tq: launch and reduction of the quantisation kernel
  double quantise_row_ns = 1;      // per activation row: its reduction and scale
  double quantise_gb_s = 1000;     // Rq: its rate over 3 bytes per activation (read 2, write 1)
  double compute_fraction = 0.85;  // of the peak fp8 rate
  double serial_ns_per_k = 1.0;
  bool split_k = false;  // CUTLASS scaled GEMM has none
  void describe(Fields& f);
};

struct GemmParams {
  std::string source;                 // what it was fitted to, when, how many rows, held-out error
  double floor_us = 2.5;              // t0: launch and drain
  double serial_ns_per_k = 1.4;       // tk: MMA and barrier latency of the serial k loop
  double gemv_serial_ns_per_k = 1.4;  // the same at m = 1 (gemv kernel)
  double compute_fraction = 0.95;     // ec: of the tensor rate at the maximum clock
  double hbm_fraction = 0.89;         // eb: of pin bandwidth
  double l2_feed_gb_s = 10000;        // L2 -> SM operand feed, aggregate (multicast included)
  double split_us = 2.5;              // tsp: fix-up pass of split-K
  double epilogue_us = 2;             // tepi: per 128x128 tile and wave
  double l2_share = 0.5;              // phi: part of L2 that holds a cyclic replay
  double l2_sharpness = 6;            // beta
  double l2_retained = 0;             // of that part, kept of a replay longer than it
  double wave_quantisation = 1;       // wq: 0 smooth .. 1 whole waves
  Fp8GemmParams fp8;
  // Largest sizes measured; outside them a prediction is marked out of range.
  std::int64_t max_m = 32768;
  std::int64_t max_n = 65536;
  std::int64_t max_k = 65536;
  void describe(Fields& f);
};

}  // namespace tessera
