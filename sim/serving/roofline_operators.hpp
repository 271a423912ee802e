// The `roofline` source: operator times of one rank from the closed forms of kernels/cost, with the card's
// calibrated parameters.
#pragma once

#include <memory>

#include "kernels/cost/kernel_table.hpp"
#include "models/hardware/engine_profile.hpp"
#include "models/hardware/gpu.hpp"
#include "models/parallel/partition.hpp"
#include "sim/serving/step_pricer.hpp"

namespace tessera {

// `simulated`: products and attention from the tile grain (sim/gpu/tile_cost.hpp), the `tile` source.
// `gpu` must carry kernel behaviour of its own (see rescale.hpp) and outlive the result.
std::unique_ptr<StepOperators> roofline_operators(const Gpu& gpu, const RankModel& model,
                                                  const EngineProfile& engine, std::int64_t block_tokens,
                                                  std::shared_ptr<const KernelTable> table = nullptr,
                                                  bool simulated = false);

}  // namespace tessera
