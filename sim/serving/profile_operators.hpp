// The `table` source fed by a measured layer profile of the very card and model (LLMServingSim's format:
// files with the columns layer,tokens,time_us · layer,sequences,time_us ·
// prefill_chunk,kv_prefill,n_decode,kv_decode,time_us). Unequal contexts are not in such a profile, so
// none of their cost is added. Several prefill chunks in one step: each beyond the first costs what it
// would alone, less the launch floor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/cost/layer_profile.hpp"
#include "models/hardware/engine_profile.hpp"
#include "models/parallel/partition.hpp"
#include "sim/serving/step_pricer.hpp"

namespace tessera {

// Reads the files of one profile; throws InputError naming file and line.
LayerProfile read_layer_profile(const std::vector<std::string>& files);
// Whether the file's header is one of a layer profile's.
bool is_layer_profile(const std::string& file);

std::unique_ptr<StepOperators> profile_operators(LayerProfile profile, const RankModel& model,
                                                 const EngineProfile& engine);

}  // namespace tessera
