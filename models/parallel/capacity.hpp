// How many KV blocks fit on a rank, as an engine finds out at start-up by a dummy step:
//
//   blocks = floor((total x utilisation - weights - buffers - activation peak - non-torch growth
//                   - CUDA graphs) / (KV bytes of a token x block_tokens))
//   activation peak = max(forward, sampler)
//   forward = T x bytes x (3 x ffn width + 3 x hidden) for a full step of T = max_num_batched_tokens
//   sampler = max_num_seqs x vocab x c
//
// total is what the driver reports, not the marketing size; the CUDA context lives in the part left unused.
// The forward rule fits public vLLM logs within 1 % (vllm issue 10517: 20k and 29k tokens on an RTX 3090).
// c depends on the sampler's code path: about 34 B per logit with a sort-based top-k/top-p, 14 B without;
// non-torch growth in public logs is 0.16-0.35 GiB (vllm issues 12126, 14447, 10517). The defaults are stated
// before any comparison; low and high are the corners of those ranges. Recurrent state
// and buffers of unquantised entries are set aside for every seat.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/hardware/engine_profile.hpp"
#include "models/parallel/partition.hpp"

namespace tessera {

struct StepLimits {
  std::int64_t max_batched_tokens = 2048;
  std::int64_t max_num_seqs = 256;
  std::int64_t block_tokens = 16;
  std::int64_t block_bytes = 0;  // 0: a block spans all layers
};

struct CapacityBreakdown {
  std::int64_t total_bytes = 0;
  double utilisation = 0;
  std::int64_t budget_bytes = 0;  // total x utilisation
  std::int64_t weight_bytes = 0;
  std::int64_t buffer_bytes = 0;
  std::int64_t forward_bytes = 0;
  std::int64_t sampler_bytes = 0;
  std::int64_t activation_bytes = 0;  // the larger of the two
  std::int64_t nontorch_bytes = 0;
  std::int64_t cuda_graph_bytes = 0;
  std::int64_t state_bytes = 0;  // recurrent state of max_num_seqs sequences
  std::int64_t kv_bytes = 0;     // what is left
  std::int64_t block_tokens = 0;
  std::int64_t block_bytes = 0;
  std::int64_t blocks = 0;
  std::int64_t blocks_low = 0;   // most overhead the rule allows for
  std::int64_t blocks_high = 0;  // least

  [[nodiscard]] std::int64_t tokens() const { return blocks * block_tokens; }
};

// Throws InputError with the arithmetic if not even one block fits.
CapacityBreakdown derive_kv_capacity(const RankModel& rank, std::int64_t total_bytes, double utilisation,
                                     const MemoryRule& rule, const StepLimits& limits);

// The sum as a table for people, one term a line.
std::string to_text(const CapacityBreakdown& capacity);

}  // namespace tessera
