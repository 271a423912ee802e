// One layer's attention on one GPU: KV write, copies, main kernel, combine. Equations: attention.cpp.
//
// Three kernels, as the libraries run them: decode-only batches, prefill-only batches, and mixed
// batches (FlashAttention-2 sends any batch with a prefill token through one varlen kernel without
// GQA packing and without split-KV).
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

// What one rank's layer looks like to the kernel.
struct AttentionShape {
  int q_heads = 1;
  int kv_heads = 1;
  int head_dim = 128;  // of K
  int v_head_dim = 128;
  std::int64_t window = 0;  // 0: full
  DType dtype = DType::bf16;
  DType kv_dtype = DType::bf16;
  int block_tokens = 16;  // KV page size
  // Replays over the same buffers, as the public tables were measured, may hit L2; in serving the
  // weights of a layer flush it between two uses.
  bool replayed = false;
};

// Decoding sequences as aggregates. Context lengths count the token being decoded.
struct DecodeBatch {
  std::int64_t sequences = 0;
  std::int64_t kv_tokens = 0;  // sum of context lengths
  // The longest contexts, descending, each less `offset` (so a loop may keep them fixed while all grow);
  // at least min(sequences, 32) of them, so that tails are seen without walking the batch. Empty: all equal
  // to the mean.
  std::span<const std::int32_t> longest = {};
  std::int64_t offset = 0;
};

// One prefill chunk: `tokens` new query tokens on top of `history` tokens already cached.
struct PrefillChunk {
  std::int64_t tokens = 0;
  std::int64_t history = 0;
};

OpTime decode_attention_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes);
OpTime prefill_attention_time(const Gpu& gpu, const AttentionShape& shape,
                              std::span<const PrefillChunk> chunks);
OpTime mixed_attention_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes,
                            std::span<const PrefillChunk> chunks);

// Physics floors of the same three.
double decode_attention_floor_us(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes);
double prefill_attention_floor_us(const Gpu& gpu, const AttentionShape& shape,
                                  std::span<const PrefillChunk> chunks);

}  // namespace tessera
