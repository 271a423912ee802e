// Parameters of the attention closed forms (kernels/cost/attention.hpp): what a datasheet does not say
// about FlashAttention on a card. Each has a physical meaning; at most 12 of them are fitted per kernel.
//
// Carried to another card of the same kernel (kernels/cost/rescale.hpp):
//   launch_us, prefill_launch_us, combine_us   x ratio of graph_launch_us (gap between dependent kernels)
//   kv_write_us, combine_per_split_us          x ratio of dram_latency_ns (chains of dependent accesses)
//   cta_us                                     x ratio of dram_latency_ns (prologue = 2-3 misses)
//   mask_us                                    x inverse ratio of the rated clock
//   cta_gb_s                                   x ratio of the rated clock (L2 -> SM port, producer warp)
//   l2_gb_s                                    x ratio of the published l2_gb_s
//   mma_factor, exp_factor                     as is: they multiply times made from the card's own clock
//   hbm_fraction                               x ratio of hbm_achieved_fraction, at most 0.98
//   l2_share                                   as is if l2_partitions agree, else 0.75 for two, 1.2 for one
//   heat, paging_factor                        as is
// The load latency (dram_latency_ns), residency and tile shapes come from the card itself.
#pragma once

#include <optional>
#include <string>

#include "models/base/spec.hpp"

namespace tessera {

struct AttentionRates {
  double launch_us = 3;                // T0: graph node and launches of the KV write and the main kernel
  double prefill_launch_us = 0;        // T0p: extra in prefill (FA3)
  double combine_us = 2.5;             // Tc: one more dependent kernel; a copy kernel costs 0.6 of it
  double combine_per_split_us = 0.02;  // tcs: serial loop over partials
  double cta_us = 1.4;                 // tu: prologue and epilogue of a CTA at head dim 128
  double mask_us = 0;            // tmask: mask and warpgroup barriers of a CTA, per 128 x 128 tile (FA3)
  double cta_gb_s = 190;         // bsm: tile load rate of one CTA after the first latency
  double mma_factor = 1;         // cm: tensor time / time at the rated clock
  double exp_factor = 1;         // ce: likewise for exponentials and softmax arithmetic
  double hbm_fraction = 0.92;    // fH: of pin bandwidth
  double l2_gb_s = 5000;         // rate at which L2-resident bytes arrive
  double l2_share = 0.8;         // a: footprint / L2 at which half of a cyclic replay still hits
  double kv_write_us = 2;        // tw: slot load -> KV load -> store chain of one token
  double heat = 0;               // kth: clock loss of kernels of many milliseconds
  double transpose_us = 0;       // kx: in-kernel V transpose per 160 x 128 tile (FA3 fp8), head dim <= 128
  double transpose_d192_us = 0;  // ... at head dim 192
  double transpose_d256_us = 0;  // ... at head dim 256
  void describe(Fields& f);
};

struct AttentionParams {
  std::string source;
  std::string kernel = "fa2";         // fa2 | fa3
  AttentionRates rates;               // 16-bit K and V
  std::optional<AttentionRates> fp8;  // fp8 K and V (and Q): FA3
  // Decode read time with 16-token pages against the 64-token pages of the tables: a key tile then
  // gathers from 4 times as many pages. 1: none.
  double paging_factor = 1;
  std::string paging_source;
  void describe(Fields& f);
};

}  // namespace tessera
