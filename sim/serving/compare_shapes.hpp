// One model on one node in several cache shapes, side by side: what a sequence holds, how many fit, how fast
// they decode and how long a prompt takes.
//
//   seats that fit = floor(memory for KV / (most pages a sequence of the context has on its way, each group
//   in
//                    pages of its own, + state + unquantised buffers))
//   decode rate    = batch / time of one decode step with every sequence at the context
//   prefill time   = sum over the chunks of one prompt, alone on the engine
//
// Memory for KV is what capacity.hpp leaves after weights and activations. The step times are those a run
// would be priced with. Left out: what mixing prompts and decodes costs; quality.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/hardware/engine_profile.hpp"
#include "models/hardware/gpu.hpp"
#include "models/transformer/kv_shapes.hpp"

namespace tessera {

struct CompareSetup {
  Gpu gpu;
  EngineProfile engine;
  std::int64_t tp = 1;
  std::int64_t context = 4096;
  std::int64_t batch = 0;  // decoding sequences; 0: as many as fit, at most `seats`
  std::int64_t seats = 256;
  std::int64_t block_tokens = 16;
  double utilization = 0.9;
};

struct ShapeReport {
  std::string shape;
  std::string kv_dtype;
  std::string refusal;                 // why this shape cannot run here; the rest is then empty
  std::int64_t weight_bytes = 0;       // of one rank, as all below
  std::int64_t kv_memory_bytes = 0;    // for all sequences
  std::int64_t bytes_per_token = 0;    // before any window binds
  std::int64_t bytes_at_context = 0;   // one sequence, state included
  std::int64_t decode_read_bytes = 0;  // of one sequence and step
  std::int64_t seat_bytes = 0;         // what admission must count on
  std::int64_t max_batch = 0;          // seats that fit
  std::int64_t max_context = 0;        // of a single sequence; 0: no bound
  std::int64_t batch = 0;              // of the decode step below
  double step_ms = 0;
  double decode_tokens_s = 0;  // of the engine
  double prefill_ms = 0;
  double attention_share = 0;  // of the step's time
  double weight_share = 0;     // GEMMs, experts and head
  bool compute_bound = false;  // tensor cores busier than HBM
  std::string reason;
};

ShapeReport report_shape(const CompareSetup& setup, const ShapedModel& shaped);

}  // namespace tessera
