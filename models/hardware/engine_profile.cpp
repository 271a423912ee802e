#include "models/hardware/engine_profile.hpp"

#include <algorithm>

#include "models/base/check.hpp"

namespace tessera {

void GraphSizes::describe(Fields& f) {
  f.field("up_to", up_to,
          {.doc = "last size of this run", .unit = "tokens", .min = 1, .max = 1 << 20, .required = true});
  f.field("step", step,
          {.doc = "distance of neighbouring sizes",
           .unit = "tokens",
           .min = 1,
           .max = 1 << 20,
           .required = true});
  f.check(up_to % step == 0, "up_to", "not a captured size, expected a multiple of step");
}

void GraphRule::describe(Fields& f) {
  f.list("sizes", sizes,
         {.doc = "captured sizes, as runs of a constant step in ascending order; empty: no graphs"});
  f.field("max_tokens", max_tokens,
          {.doc = "largest captured size", .unit = "tokens", .min = 0, .max = 1 << 20});
  f.field("per_sequence", per_sequence,
          {.doc = "captured up to this many tokens per max_num_seqs; 0: no such bound",
           .unit = "tokens",
           .min = 0,
           .max = 64});
  f.field("mixed_steps", mixed_steps, {.doc = "graphs also serve steps with prefill tokens"});
  std::int64_t last = 0;
  for (const GraphSizes& run : sizes) {
    f.check(run.up_to > last, "sizes", "the runs do not ascend, expected each up_to above the one before");
    last = run.up_to;
  }
  f.check(max_tokens == last, "max_tokens", "expected the up_to of the last run of sizes");
}

void MemoryRule::describe(Fields& f) {
  f.field("sampler_bytes_per_logit", sampler_bytes_per_logit,
          {.doc = "sampler peak, per max_num_seqs x vocabulary", .unit = "B", .min = 0, .max = 256});
  f.field("sampler_bytes_per_logit_low", sampler_bytes_per_logit_low,
          {.doc = "least plausible sampler peak", .unit = "B", .min = 0, .max = 256});
  f.field("sampler_bytes_per_logit_high", sampler_bytes_per_logit_high,
          {.doc = "largest plausible sampler peak", .unit = "B", .min = 0, .max = 256});
  f.field("nontorch_growth_gib", nontorch_growth_gib,
          {.doc = "memory outside the framework's allocator that appears while profiling",
           .unit = "GiB",
           .min = 0,
           .max = 64});
  f.field("nontorch_growth_gib_low", nontorch_growth_gib_low,
          {.doc = "least plausible growth", .unit = "GiB", .min = 0, .max = 64});
  f.field("nontorch_growth_gib_high", nontorch_growth_gib_high,
          {.doc = "largest plausible growth", .unit = "GiB", .min = 0, .max = 64});
  f.field("activation_inter_terms", activation_inter_terms,
          {.doc = "live activations of intermediate width", .min = 0, .max = 64});
  f.field("activation_hidden_terms", activation_hidden_terms,
          {.doc = "live activations of hidden width", .min = 0, .max = 64});
  f.field("cuda_graph_gib", cuda_graph_gib,
          {.doc = "CUDA graphs charged to the budget; 0: they live in what is left unused",
           .unit = "GiB",
           .min = 0,
           .max = 64});
  f.field("null_block", null_block, {.doc = "one block of the pool is never handed out"});
  f.field("source", source, {.doc = "where the rule comes from"});
  f.check(sampler_bytes_per_logit_low <= sampler_bytes_per_logit &&
              sampler_bytes_per_logit <= sampler_bytes_per_logit_high,
          "sampler_bytes_per_logit", "outside its own range, expected between _low and _high");
  f.check(nontorch_growth_gib_low <= nontorch_growth_gib && nontorch_growth_gib <= nontorch_growth_gib_high,
          "nontorch_growth_gib", "outside its own range, expected between _low and _high");
}

void AdmissionRule::describe(Fields& f) {
  f.field("reserve_full_prompt", reserve_full_prompt,
          {.doc = "a request is admitted only when blocks for its whole prompt are free"});
  f.field("watermark", watermark,
          {.doc = "part of the pool that admission leaves free", .min = 0, .max = 0.5});
}

void EngineProfile::describe(Fields& f) {
  f.field("name", name, {.doc = "name of this file", .required = true});
  f.field("source", source, {.doc = "where the figures come from, and how sure they are", .required = true});

  f.field("host_source", host_source, {.doc = "what the host times were fitted on; empty: see source"});

  f.choice("scheduler", scheduler, {"vllm", "sarathi", "sglang"}, {.doc = "how the engine composes steps"});
  f.field("async_depth", async_depth,
          {.doc = "steps in flight at once; 1: synchronous", .min = 1, .max = 8, .required = true});
  f.field("host_base_us", host_base_us,
          {.doc = "host work of a step", .unit = "us", .min = 0, .max = 1e6, .required = true});
  f.field("host_per_sequence_us", host_per_sequence_us,
          {.doc = "host work of a step, per sequence in it",
           .unit = "us",
           .min = 0,
           .max = 1e5,
           .required = true});
  f.field("host_per_tp_us", host_per_tp_us,
          {.doc = "host work of a step, per tensor-parallel rank",
           .unit = "us",
           .min = 0,
           .max = 1e5,
           .required = true});
  f.field("step_fixed_us", step_fixed_us,
          {.doc = "GPU time of a step outside its operators",
           .unit = "us",
           .min = 0,
           .max = 1e5,
           .required = true});
  f.field("mxfp4_routing_kernels", mxfp4_routing_kernels,
          {.doc = "small kernels that a layer of MXFP4 experts launches beyond those of the kernel tables",
           .min = 0,
           .max = 100});
  f.field("eager_prefill_floor_ms", eager_prefill_floor_ms,
          {.doc = "least duration of a step with prefill launched without a graph",
           .unit = "ms",
           .min = 0,
           .max = 1e4});
  f.field("frontend_ttft_ms", frontend_ttft_ms,
          {.doc = "outside the engine, once per request, before the first token",
           .unit = "ms",
           .min = 0,
           .max = 1e4});
  f.field("cold_start_ms", cold_start_ms,
          {.doc = "extra of the very first step", .unit = "ms", .min = 0, .max = 1e5});

  f.choice("attention_backend", attention_backend, {"auto", "fa2", "fa3"},
           {.doc = "attention kernels; auto: what the GPU's kernel behaviour names"});
  f.field("separate_prefill_kernel", separate_prefill_kernel,
          {.doc = "prefill and decode of a mixed step run as two attention kernels"});
  f.field(
      "paged_lanes", paged_lanes,
      {.doc = "tokens that decode attention reads side by side within a block; a smaller block leaves lanes "
              "idle and is read at that share of the rate",
       .min = 1,
       .max = 64});
  f.choice(
      "cascade", cascade, {"off", "on", "auto"},
      {.doc = "cascade attention: a prefix that decodes share is read once; auto: where that is faster"});

  f.field("default_max_num_batched_tokens", default_max_num_batched_tokens,
          {.doc = "token budget of a step when the run config gives none",
           .unit = "tokens",
           .min = 1,
           .max = 1 << 24});
  f.field("default_max_num_seqs", default_max_num_seqs,
          {.doc = "sequences of a step when the run config gives none", .min = 1, .max = 1 << 20});
  f.field("block_tokens", block_tokens,
          {.doc = "KV block size of the engine", .unit = "tokens", .min = 1, .max = 4096});

  f.group("graphs", graphs, {.doc = "CUDA graphs"});
  f.group("memory", memory, {.doc = "what start-up profiling keeps away from the KV cache"});
  f.group("admission", admission, {.doc = "when a waiting request may start"});
}

std::int64_t EngineProfile::padded_tokens(std::int64_t tokens) const {
  TESSERA_CHECK(tokens >= 0, "a step cannot have negative tokens");
  if (tokens == 0 || tokens > graphs.max_tokens) return tokens;
  // A handful of runs whatever the token count.
  for (const GraphSizes& run : graphs.sizes)
    if (tokens <= run.up_to) {
      const std::int64_t size = ceil_div(tokens, run.step) * run.step;
      return size <= graphs.max_tokens ? size : tokens;
    }
  return tokens;
}

void EngineProfile::limit_graphs(std::int64_t max_num_seqs, std::int64_t max_num_batched_tokens) {
  graphs.max_tokens = std::min(graphs.max_tokens, max_num_batched_tokens);
  if (graphs.per_sequence > 0)
    graphs.max_tokens = std::min(graphs.max_tokens, graphs.per_sequence * max_num_seqs);
}

Time EngineProfile::host_time(int tensor_parallel, std::int64_t sequences) const {
  return microseconds(host_base_us + host_per_tp_us * tensor_parallel +
                      host_per_sequence_us * static_cast<double>(sequences));
}

EngineProfile load_engine_profile(const std::string& name_or_path) {
  return read_config<EngineProfile>("engines", name_or_path);
}

}  // namespace tessera
