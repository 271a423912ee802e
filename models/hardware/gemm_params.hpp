// Parameters of the GEMM closed form (kernels/cost/gemm.hpp).
#pragma once

#include <string>

#include "models/base/spec.hpp"

namespace tessera {

struct GemmParams {
  std::string source;           // what it was fitted to, when, how many rows
  double floor_us = 2.5;        // t0: launch and drain
  double serial_ns_per_k = 1.4; // tk: MMA and barrier latency of the serial k loop
  double gemv_serial_ns_per_k = 1.4;  // the same at m = 1 (gemv kernel)
  double compute_fraction = 0.95;     // ec: of peak tensor rate
  double hbm_fraction = 0.89;         // eb: of pin bandwidth
  double l2_feed_gb_s = 10000;        // L2 -> SM operand feed, aggregate (multicast included)
  double split_us = 2.5;              // tsp: fix-up pass of split-K
  double epilogue_us = 2;             // tepi: per 128x128 tile
  double l2_share = 0.5;              // phi: part of L2 that holds a cyclic replay
  double l2_sharpness = 6;            // beta
  double wave_quantisation = 1;       // wq: 0 smooth .. 1 whole waves
  void describe(Fields& f);
};

}  // namespace tessera
