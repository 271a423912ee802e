#include "models/hardware/gemm_params.hpp"

namespace tessera {

void Fp8GemmParams::describe(Fields& f) {
  f.field("quantise_us", quantise_us,
          {.doc = "fixed time of the activation quantisation kernel", .unit = "us", .min = 0, .max = 50});
  f.field("quantise_row_ns", quantise_row_ns,
          {.doc = "time of that kernel per activation row", .unit = "ns", .min = 0, .max = 1000});
  f.field("quantise_gb_s", quantise_gb_s,
          {.doc = "rate of that kernel over the bytes it reads and writes",
           .unit = "GB/s",
           .min = 10,
           .max = 20000});
  f.field("compute_fraction", compute_fraction,
          {.doc = "part of the peak fp8 rate reached", .min = 0.2, .max = 1});
  f.field("serial_ns_per_k", serial_ns_per_k,
          {.doc = "latency of the serial k loop", .unit = "ns", .min = 0.1, .max = 20});
  f.field("split_k", split_k, {.doc = "whether the library splits k over several CTAs"});
}

void GemmParams::describe(Fields& f) {
  f.field("source", source, {.doc = "what the figures were fitted to, and the error on rows not used"});
  f.field("floor_us", floor_us,
          {.doc = "launch and drain of one kernel in a replayed graph", .unit = "us", .min = 0.5, .max = 8});
  f.field("serial_ns_per_k", serial_ns_per_k,
          {.doc = "latency of the serial k loop, MMA and barrier", .unit = "ns", .min = 0.2, .max = 20});
  f.field("gemv_serial_ns_per_k", gemv_serial_ns_per_k,
          {.doc = "the same at one row (gemv kernel)", .unit = "ns", .min = 0.2, .max = 20});
  f.field("compute_fraction", compute_fraction,
          {.doc = "part of the tensor rate at the maximum clock", .min = 0.2, .max = 1});
  f.field("hbm_fraction", hbm_fraction,
          {.doc = "part of pin bandwidth streamed weights reach", .min = 0.3, .max = 1});
  f.field("l2_feed_gb_s", l2_feed_gb_s,
          {.doc = "operand feed from L2 to all SMs, multicast included",
           .unit = "GB/s",
           .min = 500,
           .max = 60000});
  f.field("split_us", split_us, {.doc = "fix-up pass of split-K", .unit = "us", .min = 0, .max = 10});
  f.field("epilogue_us", epilogue_us,
          {.doc = "epilogue and pipeline fill of a 128 x 128 tile", .unit = "us", .min = 0, .max = 15});
  f.field("l2_share", l2_share,
          {.doc = "part of L2 that keeps operands between replays", .min = 0.1, .max = 1});
  f.field("l2_sharpness", l2_sharpness,
          {.doc = "how sharply residency ends when the footprint outgrows L2", .min = 1, .max = 20});
  f.field("l2_retained", l2_retained,
          {.doc = "of that part, what a replay longer than it still finds", .min = 0, .max = 1});
  f.field("wave_quantisation", wave_quantisation,
          {.doc = "0: partial waves cost their share; 1: a whole wave", .min = 0, .max = 1});
  f.group("fp8", fp8, {.doc = "per-tensor fp8 with dynamic activation scales"});
  f.field("max_m", max_m, {.doc = "largest m measured", .min = 1});
  f.field("max_n", max_n, {.doc = "largest n measured", .min = 1});
  f.field("max_k", max_k, {.doc = "largest k measured", .min = 1});
}

}  // namespace tessera
