#include "models/hardware/moe_params.hpp"

namespace tessera {

void MoeParams::describe(Fields& f) {
  f.field("source", source, {.doc = "what the figures were fitted to, and the error on rows not used"});
  MoeRates::describe(f);
  f.optional_group("mxfp4", mxfp4, {.doc = "MXFP4 experts, multiplied in bf16 (as gpt-oss on Hopper)"});
}

void MoeRates::describe(Fields& f) {
  f.field("floor_us", floor_us,
          {.doc = "launches of the small kernels around the two GEMMs", .unit = "us", .min = 1, .max = 200});
  f.field("permute_us", permute_us,
          {.doc = "align and sort, per doubling of 64 assignments", .unit = "us", .min = 0, .max = 40});
  f.field("per_100_experts_us", per_100_experts_us,
          {.doc = "counting and offsets per 100 experts", .unit = "us", .min = 0, .max = 40});
  f.field("compute_fraction", compute_fraction,
          {.doc = "part of the tensor rate at the maximum clock", .min = 0.1, .max = 1});
  f.field("hbm_fraction", hbm_fraction,
          {.doc = "part of pin bandwidth that expert weights reach", .min = 0.2, .max = 1});
  f.field("l2_feed_gb_s", l2_feed_gb_s,
          {.doc = "operand feed from L2 to all SMs", .unit = "GB/s", .min = 500, .max = 60000});
  f.field("serial_ns_per_k", serial_ns_per_k,
          {.doc = "latency of the serial k loop", .unit = "ns", .min = 0.1, .max = 20});
  f.field("wave_quantisation", wave_quantisation,
          {.doc = "0: partial waves cost their share; 1: a whole wave", .min = 0, .max = 1});
  f.field("elementwise_fraction", elementwise_fraction,
          {.doc = "part of pin bandwidth of the activation and combine kernels; over 1 where they stay in L2",
           .min = 0.1,
           .max = 3});
  f.field("all_assignments", all_assignments,
          {.doc = "whether a rank's kernels walk the assignments of all ranks"});
}

}  // namespace tessera
