// One serving simulation: a config in, a result out.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/parallel/capacity.hpp"
#include "sim/serving/metrics.hpp"
#include "sim/serving/movement_report.hpp"
#include "sim/serving/run_config.hpp"
#include "traces/request.hpp"

namespace tessera {

struct RunResult {
  RunConfig config;
  CapacityBreakdown capacity;    // of one rank
  bool capacity_derived = true;  // false: memory.kv_blocks was given
  std::int64_t kv_blocks = 0;    // a null block included, as the engine reports it
  std::int64_t block_tokens = 0;
  std::int64_t block_bytes = 0;      // of one rank
  std::int64_t bytes_per_token = 0;  // KV of one rank
  std::string vmm;                   // what a row of mapped memory is; empty: another allocator
  std::string kv_groups;             // how groups of layers share the blocks; empty: a block spans all
  std::int64_t weight_bytes = 0;     // of one rank, buffers included
  TraceInfo trace;
  Metrics metrics;
  std::optional<MovementReport> movement;  // where KV moves
  std::vector<CostOrigin> origins;
  std::vector<std::string> warnings;
  bool interrupted = false;
  double kernel_simulation_s = 0;  // wall time; part of the run's own
};

struct RunHooks {
  std::function<void(const RequestRecord&, std::string_view id)>
      on_request;  // finished or rejected (finish_ps < 0)
  std::function<void(const StepRecord&)> on_step;
  std::function<void(const MemoryMoment&)> on_memory;
  // Called now and then with requests read so far and expected (-1: not known); false interrupts the run.
  std::function<bool(std::int64_t done, std::int64_t total)> progress;
  // Once this is not 0 the run stops as it stands; what finished is kept.
  const volatile std::sig_atomic_t* stop = nullptr;
  bool leap = true;
};

RunResult simulate(const RunConfig& config, const RunHooks& hooks = {});
// Of requests that are not in config.trace.file.
RunResult simulate(const RunConfig& config, TraceReader& trace, const RunHooks& hooks = {});

// The parts of it, for tests and tools.
std::unique_ptr<StepCost> make_step_cost(const RunConfig& config, const RankModel& rank,
                                         std::vector<std::string>& warnings);

}  // namespace tessera
