// The sections of a plan, one line each: key, grids, what it says of them.
#pragma once

#include "kernels/measure/plan.hpp"

namespace tessera::measure {

// f(key, grids, doc) for every section of a plan.
template <class P, class F>
void for_each_section(P& plan, F&& f) {
  f("gemm", plan.gemm, "y = x W^T through the GEMM library");
  f("context_attention", plan.context_attention, "paged prefill without history");
  f("generation_attention", plan.generation_attention, "paged decode, windowed too");
  f("attention_standard", plan.attention_standard, "unfused attention");
  f("kv_block_copy", plan.kv_block_copy, "copies of KV blocks in a pool");
  f("hbm", plan.hbm, "streams through HBM");
  f("l2", plan.l2, "read bandwidth over footprints");
  f("latency", plan.latency, "pointer chases");
  f("sram", plan.sram, "shared-memory bandwidth");
  f("launch", plan.launch, "empty kernels");
  f("host_copy", plan.host_copy, "pinned host memory to and from the card");
  f("in_flight", plan.in_flight, "HBM bandwidth against bytes in flight");
  f("kv_gather", plan.kv_gather, "blocks read in random order");
}

}  // namespace tessera::measure
