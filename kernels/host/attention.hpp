// Attention on the host by running the tile programs of a launch on real numbers.
//
//   const host::AttentionInputs inputs = host::random_inputs(problem, Format::bf16, seed);
//   const host::AttentionRun run = host::run_attention(fa2::launch(problem, card), inputs, kAsStored);
//   run.output[...], run.traffic.bytes()
//
// Arrays are laid out as engines do: Q and O [token, head, d]; keys [token, head, d] or, when paged, [page,
// token, head, d] behind a block table whose pages are dealt in random order. Of paged keys the cache holds
// only those before the new ones; the KV-write kernel of the launch must bring the rest.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/host/attention_math.hpp"
#include "kernels/host/standard_math.hpp"
#include "kernels/tiles/attention_launch.hpp"

namespace tessera::host {

struct AttentionInputs {
  AttentionProblem problem;
  std::vector<float> q, k, v;      // [token, head, d] of all sequences one after another
  std::vector<std::uint8_t> seen;  // a key-padding mask, [key token]; empty: none
  Dropout dropout;                 // unfused and FlashAttention-1 only
  std::uint64_t seed = 0;          // of the page order
  std::vector<std::int64_t> first_query{0}, first_key{0};  // tokens before each sequence, last: of all

  [[nodiscard]] const float* query(std::int64_t sequence, std::int64_t i, std::int64_t head) const;
  [[nodiscard]] const float* key(std::int64_t sequence, std::int64_t i, std::int64_t kv_head) const;
  [[nodiscard]] const float* value(std::int64_t sequence, std::int64_t i, std::int64_t kv_head) const;
  [[nodiscard]] bool hidden(std::int64_t sequence, std::int64_t key) const;
};

// Bell-shaped numbers of variance 1, rounded to `format`.
AttentionInputs random_inputs(const AttentionProblem& problem, Format format, std::uint64_t seed);

// How intermediate results are kept: P before it meets V, and what the kernels leave in memory (O, and S and
// P of the unfused kernels). Statistics and partial outputs are fp32 always.
struct Precision {
  Format probabilities = Format::fp32;
  Format stored = Format::fp32;
};

struct AttentionRun {
  std::vector<float> output;  // [token, head, d]
  Traffic traffic;            // of all kernels
};

AttentionRun run_attention(const FlashLaunch& launch, const AttentionInputs& inputs, Precision precision);
AttentionRun run_attention(const StandardAttention& launch, const AttentionInputs& inputs,
                           Precision precision);
AttentionRun run_attention(const FlashAttention1& program, const AttentionInputs& inputs,
                           Precision precision);

}  // namespace tessera::host
