// What a simulation says of a measured run.
#pragma once

#include <array>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sim/serving/step.hpp"
#include "validation/runs/run_set.hpp"

namespace tessera {

struct PlayedRun {
  std::map<std::string, double> predicted_ms;  // the metrics that were measured
  std::array<double, kStepParts> part_ms{};    // of a mean step
  double host_ms = 0;                          // the engine's host time of a mean step
  double steps = 0, batch = 0;                 // running requests, over time
  std::int64_t preemptions = 0, rejected = 0;
  std::int64_t kv_tokens = 0;  // KV capacity
};

PlayedRun play(const MeasuredRun& run);
// The same on as many threads as the machine has cores; the order and every figure are those of one thread.
// An error names the run.
std::vector<PlayedRun> play(std::span<const MeasuredRun> runs);

}  // namespace tessera
