// What a run's configuration comes to before anything is played: the engine's limits, one rank's share of
// the model, how the KV memory is cut, what replicas start from.
#pragma once

#include <memory>

#include "models/parallel/partition.hpp"
#include "sim/serving/kv_mover.hpp"
#include "sim/serving/prompt_blocks.hpp"
#include "sim/serving/replica.hpp"
#include "sim/serving/simulate.hpp"

namespace tessera {

struct RunPlan {
  RankModel rank;
  ReplicaSpec replica;  // but for the number and the seed of each
  PromptSharing sharing;
  [[nodiscard]] bool tiered() const {
    return replica.movement != nullptr && !replica.movement->tiers.empty();
  }
  [[nodiscard]] bool shares_a_tier() const;  // between replicas
};

// The engine's limits with the profile's defaults filled in. InputError where they contradict each other.
StepLimits limits_of(const RunConfig& config);

// Writes what it found of memory into `result`, and its warnings. InputError for what does not work
// together, or where no KV block is left. trace_tokens: tokens of a block the trace names; 0: it names none.
RunPlan plan_run(const RunConfig& config, std::int64_t trace_tokens, RunResult& result);

}  // namespace tessera
