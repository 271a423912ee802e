// Parameters of the tile grain (sim/gpu). They mean what those of the closed forms mean, where a closed form
// has the same mechanism, and are fitted again because the simulation replaces the closed forms' hit rates,
// wave counts and tails by the CTAs, the replayed L2 and the shared bandwidth themselves.
#pragma once

#include "models/hardware/attention_params.hpp"
#include "models/hardware/gemm_params.hpp"

namespace tessera {

struct TileParams {
  GemmParams gemm;  // l2_sharpness is not used: residency comes from the replayed tags
  AttentionParams attention;
  void describe(Fields& f) {
    f.group("gemm", gemm, {.doc = "matrix products, simulated CTA by CTA"});
    f.group("attention", attention, {.doc = "attention kernels, simulated CTA by CTA"});
  }
};

}  // namespace tessera
