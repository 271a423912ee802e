// How one card's kernels behave: fitted figures with a physical meaning, a range and a source.
// A card without kernel tables of its own borrows a sibling's file; kernels/cost rescales by the
// two cards' published numbers (see rescale.hpp there).
#pragma once

#include <string>
#include <vector>

#include "models/base/spec.hpp"
#include "models/hardware/attention_params.hpp"
#include "models/hardware/collective_params.hpp"
#include "models/hardware/gemm_params.hpp"
#include "models/hardware/moe_params.hpp"
#include "models/hardware/tile_params.hpp"

namespace tessera {

struct KernelBehaviour {
  std::string name;
  std::string card;  // the GPU the figures were fitted on
  GemmParams gemm;
  AttentionParams attention;
  MoeParams moe;
  CollectiveParams collectives;
  TileParams tile;                      // the simulated grain
  double sustained_clock_fraction = 1;  // long-running compute against the idle-card tables
  std::string sustained_source;
  void describe(Fields& f);
};

}  // namespace tessera
