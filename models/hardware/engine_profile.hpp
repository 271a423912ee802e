// What one release of a serving engine does that the GPU does not: host time, graphs, memory rule, admission.
//
// Between two steps the host spends  base + per_tp * TP + per_sequence * (sequences in the step)  scheduling,
// launching and streaming. With async_depth d a step is scheduled while d-1 others are in flight, so host
// time shows only where it exceeds theirs; at depth 1 it is added to every step. A step launched eagerly (any
// step with prefill, where prefill is not in a CUDA graph) cannot be shorter than eager_prefill_floor_ms.
// Sources: vLLM's source and logs, and fits to public end-to-end runs; each file of configs/engines says
// which. Left out: tokenisation, detokenisation and network beyond one constant per request
// (frontend_ttft_ms).
#pragma once

#include <string>
#include <vector>

#include "models/base/spec.hpp"
#include "models/base/units.hpp"

namespace tessera {

// Captured batch sizes as runs of a constant step: every multiple of `step` from the run before up to
// `up_to`.
struct GraphSizes {
  std::int64_t up_to = 0;
  std::int64_t step = 1;
  void describe(Fields& f);
};

struct GraphRule {
  std::vector<GraphSizes> sizes;  // ascending; empty: no CUDA graphs, nothing is padded
  std::int64_t max_tokens = 0;    // larger batches run unpadded
  std::int64_t per_sequence = 0;  // captured up to this many tokens per max_num_seqs; 0: no such bound
  bool mixed_steps = true;        // false: graphs serve decode-only steps
  void describe(Fields& f);
};

// What start-up profiling keeps away from the KV cache: the larger of forward pass and sampler, plus growth
// outside the framework's allocator (models/parallel/capacity.hpp applies it). low..high is what public logs
// leave open.
struct MemoryRule {
  double sampler_bytes_per_logit = 34;  // of max_num_seqs x vocabulary
  double sampler_bytes_per_logit_low = 14;
  double sampler_bytes_per_logit_high = 34;
  double nontorch_growth_gib = 0.16;
  double nontorch_growth_gib_low = 0.16;
  double nontorch_growth_gib_high = 0.35;
  double activation_inter_terms = 3;   // forward pass: tokens x bytes x (inter_terms x intermediate
  double activation_hidden_terms = 3;  //                              + hidden_terms x hidden)
  double cuda_graph_gib = 0;  // CUDA graphs charged to the budget; 0: they live in what is left unused
  bool null_block = true;     // one block of the pool is never handed out
  std::string source;
  void describe(Fields& f);
};

struct AdmissionRule {
  bool reserve_full_prompt = true;  // all blocks of the prompt must be free, though only a chunk is taken
  double watermark = 0;             // part of the pool that admission leaves free
  void describe(Fields& f);
};

struct EngineProfile {
  std::string name;
  std::string source;
  std::string host_source;  // what the host times were fitted on, where that is not `source`

  std::string scheduler = "vllm";  // how the engine composes its steps
  int async_depth = 1;
  double host_base_us = 0;
  double host_per_sequence_us = 0;
  double host_per_tp_us = 0;
  double step_fixed_us = 0;
  int mxfp4_routing_kernels = 0;  // a layer of MXFP4 experts launches beyond those of the kernel tables
  double eager_prefill_floor_ms = 0;
  double frontend_ttft_ms = 0;
  double cold_start_ms = 0;

  std::string attention_backend = "auto";
  bool separate_prefill_kernel = false;
  std::int64_t paged_lanes = 1;  // of one block, read side by side by a decode kernel
  std::string cascade = "off";   // a prefix common to several decodes is read once: on, off, auto (if faster)

  std::int64_t default_max_num_batched_tokens = 2048;
  std::int64_t default_max_num_seqs = 256;
  std::int64_t block_tokens = 16;

  GraphRule graphs;
  MemoryRule memory;
  AdmissionRule admission;

  void describe(Fields& f);

  // Tokens a step of `tokens` is computed with: the next captured size, or itself above the largest.
  [[nodiscard]] std::int64_t padded_tokens(std::int64_t tokens) const;
  // Graphs are captured no further than a deployment's own limits let a step grow. Call once when they are
  // known.
  void limit_graphs(std::int64_t max_num_seqs, std::int64_t max_num_batched_tokens);
  // Host work of one step.
  [[nodiscard]] Time host_time(int tensor_parallel, std::int64_t sequences) const;
};

EngineProfile load_engine_profile(const std::string& name_or_path);

}  // namespace tessera
