#include "models/hardware/kernel_behaviour.hpp"

namespace tessera {

void KernelBehaviour::describe(Fields& f) {
  f.field("name", name, {.doc = "name of this file", .required = true});
  f.field("card", card,
          {.doc = "the GPU (name under configs/gpus) the figures were fitted on", .required = true});
  f.group("gemm", gemm, {.doc = "dense matrix products"});
  f.group("attention", attention, {.doc = "attention kernels"});
  f.group("moe", moe, {.doc = "fused mixture-of-experts layer"});
  f.group("collectives", collectives, {.doc = "all-reduce and its kin inside one node"});
  f.group("tile", tile, {.doc = "the tile grain: kernels simulated CTA by CTA"});
  f.field("sustained_clock_fraction", sustained_clock_fraction,
          {.doc = "speed of long-running compute against the idle card the tables were measured on",
           .min = 0.5,
           .max = 1});
  f.field("sustained_source", sustained_source, {.doc = "where sustained_clock_fraction comes from"});
}

}  // namespace tessera
