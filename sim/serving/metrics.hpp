// What a serving run measured. Per finished request 24 bytes are kept (TTFT, TPOT, E2EL); per token gaps
// go into a log-linear histogram; memory use is weighted by the time of the steps it held for.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sim/engine/histogram.hpp"
#include "sim/serving/kv_memory.hpp"
#include "sim/serving/step.hpp"

namespace tessera {

// Times are picoseconds from the first arrival of the trace; -1: not yet.
struct RequestRecord {
  std::uint32_t row = 0;
  std::int32_t input_tokens = 0, output_tokens = 0;
  std::int32_t cached_tokens = 0;  // prompt tokens found in the prefix cache at first admission
  std::int32_t preemptions = 0;
  std::int64_t arrival_ps = 0, queued_ps = -1, scheduled_ps = -1, first_token_ps = -1, finish_ps = -1;
};

// One launched step, for the timeline.
struct StepRecord {
  int engine = 0;  // which replica
  std::int64_t start_ps = 0, end_ps = 0;
  std::int64_t decodes = 0, prefill_tokens = 0;
  std::int64_t running = 0, waiting = 0;
  std::int64_t used_blocks = 0;
};

// The memory of an engine when a step was launched, for a map of it.
struct MemoryMoment {
  int engine = 0;
  std::int64_t start_ps = 0;
  const KvMemory& memory;
  std::function<std::uint32_t(KvMemory::Slot)> row_of;  // of the trace, whose request a slot stands for
};

class Metrics {
 public:
  // Latency limits a request must meet to count as good, in ms.
  double slo_ttft_ms = 0, slo_tpot_ms = 0;
  std::int64_t sequences = 1;  // that answer every request
  // Optional sinks, called in order of simulation of each replica.
  std::function<void(const RequestRecord&)> on_finish;
  std::function<void(const StepRecord&)> on_step;
  std::function<void(const MemoryMoment&)> on_memory;

  void finish(const RequestRecord& record);
  void token_gaps(std::int64_t gap_ps, std::int64_t count) { itl_ps.add(gap_ps, count); }
  void kv_use(const KvUse& use, std::int64_t duration_ps);
  void step_terms(const StepTerms& step, std::int64_t times) {
    terms.add(step, static_cast<double>(times));
    if (!step.in_range) out_of_range_steps += times;
  }

  // Per finished request, in order of finishing.
  struct Sample {
    double ttft_ms, tpot_ms /* NaN: one output token */, e2el_ms;
  };
  std::vector<Sample> samples;
  Histogram itl_ps;

  std::int64_t completed = 0, good = 0;
  std::map<std::string, std::int64_t> rejected;  // by reason
  std::int64_t input_tokens = 0, output_tokens = 0;
  std::int64_t prompt_tokens_looked_up = 0, prompt_tokens_hit = 0;
  std::int64_t preemptions = 0, evictions = 0, recomputed_tokens = 0;
  std::int64_t copied_blocks = 0;                   // on a write into a shared one
  std::int64_t mapped_pages = 0, map_stall_ps = 0;  // calls, and how long steps waited for them
  std::int64_t last_finish_ps = 0;
  std::int64_t steps = 0, mixed_steps = 0, prefill_tokens = 0, decode_tokens = 0;
  std::int64_t out_of_range_steps = 0;  // priced outside the calibrated range of a source
  std::int64_t busy_ps = 0;
  std::int64_t peak_blocks = 0, peak_running = 0, peak_waiting = 0;

  // Time integrals, in units x ps.
  double block_time = 0, slot_time = 0, resident_time = 0, reserved_time = 0, external_time = 0,
         running_time = 0, step_time = 0;
  double padding_time = 0;    // slots lost to groups of unequal layers x ps
  double duplicate_time = 0;  // slots whose tokens another block in use holds as well x ps

  StepTerms terms;
};

}  // namespace tessera
