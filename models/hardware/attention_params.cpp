#include "models/hardware/attention_params.hpp"

namespace tessera {

void AttentionRates::describe(Fields& f) {
  f.field("launch_us", launch_us,
          {.doc = "graph node and launches of KV write and main kernel", .unit = "us", .min = 0, .max = 100});
  f.field("prefill_launch_us", prefill_launch_us,
          {.doc = "extra of a prefill launch", .unit = "us", .min = 0, .max = 20});
  f.field("combine_us", combine_us, {.doc = "one more dependent kernel", .unit = "us", .min = 0, .max = 50});
  f.field("combine_per_split_us", combine_per_split_us,
          {.doc = "combine kernel, per split", .unit = "us", .min = 0, .max = 5});
  f.field("cta_us", cta_us,
          {.doc = "prologue and epilogue of a CTA at head dim 128", .unit = "us", .min = 0, .max = 50});
  f.field("mask_us", mask_us,
          {.doc = "masking of a CTA, per 128 x 128 tile", .unit = "us", .min = 0, .max = 10});
  f.field("cta_gb_s", cta_gb_s, {.doc = "tile load rate of one CTA", .unit = "GB/s", .min = 1, .max = 2000});
  f.field("mma_factor", mma_factor, {.doc = "tensor time / time at the rated clock", .min = 0.3, .max = 5});
  f.field("exp_factor", exp_factor,
          {.doc = "exponential and softmax time / exponentials at the rated clock", .min = 0, .max = 10});
  f.field("hbm_fraction", hbm_fraction, {.doc = "of pin bandwidth", .min = 0.05, .max = 1});
  f.field("l2_gb_s", l2_gb_s,
          {.doc = "arrival rate of L2-resident bytes", .unit = "GB/s", .min = 10, .max = 100000});
  f.field("l2_share", l2_share,
          {.doc = "footprint / L2 at which half of a cyclic replay hits", .min = 0.05, .max = 2});
  f.field("kv_write_us", kv_write_us,
          {.doc = "one wave of the KV write kernel", .unit = "us", .min = 0, .max = 50});
  f.field("heat", heat, {.doc = "slow-down of kernels of many milliseconds", .min = 0, .max = 1});
  f.field("transpose_us", transpose_us,
          {.doc = "V transpose per 160 x 128 tile, head dim <= 128", .unit = "us", .min = 0, .max = 20});
  f.field("transpose_d192_us", transpose_d192_us,
          {.doc = "V transpose, head dim 192", .unit = "us", .min = 0, .max = 20});
  f.field("transpose_d256_us", transpose_d256_us,
          {.doc = "V transpose, head dim 256", .unit = "us", .min = 0, .max = 20});
}

void AttentionParams::describe(Fields& f) {
  f.field("source", source, {.doc = "what the figures were fitted to, when, and the held-out error"});
  f.choice("kernel", kernel, {"fa2", "fa3"},
           {.doc = "FlashAttention generation the engine picks on this card"});
  f.group("rates", rates, {.doc = "16-bit K and V"});
  f.optional_group("fp8", fp8, {.doc = "fp8 K and V"});
  f.field("paging_factor", paging_factor,
          {.doc = "decode read time, 16-token against 64-token pages", .min = 1, .max = 3});
  f.field("paging_source", paging_source, {.doc = "where paging_factor comes from"});
}

}  // namespace tessera
