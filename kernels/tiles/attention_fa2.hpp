// FlashAttention-2. On a paged cache, as vLLM runs it, always the split-KV kernel: 64 query rows a CTA, 128
// threads, one buffer each for K and V in shared memory, loaded half a step ahead. On dense tensors without
// splits the larger `dense_tile`.
//
// Decode packs the G query heads of a KV head into the rows (and may then split the keys over CTAs)
// only if the batch is pure decode, G > 1 and no window is set, even one longer than the context.
// Everything else runs one CTA per 64 queries of each *query* head, without splits.
// Source: csrc/flash_attn flash_api.cpp and flash_fwd_launch_template.h. Left out: the bit-identical
// N = 64/128 variant of newer forks, which the measured versions do not dispatch.
#pragma once

#include "kernels/tiles/attention_tiles.hpp"

namespace tessera::fa2 {

constexpr TileShape tile(int head_dim) { return {64, head_dim <= 64 ? 256 : head_dim <= 128 ? 128 : 64}; }

// The kernel of dense tensors without splits, and its threads. `sm8x`: compute capability 8.6 or 8.9.
struct DenseTile {
  TileShape tile;
  int threads;
};
constexpr DenseTile dense_tile(int head_dim, bool causal, bool sm8x, std::int64_t smem_per_cta,
                               std::int64_t smem_per_sm) {
  if (head_dim <= 64) return {{128, 128}, 128};
  if (head_dim <= 96) return {{sm8x && causal ? 64 : 128, 64}, 128};
  if (head_dim <= 128)
    return {sm8x ? causal ? TileShape{64, 64} : TileShape{128, 32} : TileShape{128, 64}, 128};
  if (head_dim <= 192) return {{128, 64}, 256};
  const std::int64_t d = head_dim;  // 128 rows where they fit one CTA and two of 64 do not fit an SM
  const bool large = smem_per_cta >= 2 * d * (128 + 2 * 64) && smem_per_sm < 4 * d * (64 + 2 * 64);
  return large ? DenseTile{{128, 64}, 256} : DenseTile{{64, 64}, 128};
}

constexpr std::int64_t smem_bytes(int head_dim, int v_head_dim) {
  const TileShape t = tile(head_dim);
  return 2 * (std::int64_t{t.m} * head_dim + std::int64_t{t.n} * (head_dim + v_head_dim));
}

// CTAs of one SM: shared memory (1 KB of it reserved per CTA) and 128 threads x 255 registers of 65,536.
constexpr int ctas_per_sm(int head_dim, int v_head_dim, std::int64_t smem_per_sm) {
  const std::int64_t by_smem = smem_per_sm / (smem_bytes(head_dim, v_head_dim) + 1024);
  return static_cast<int>(std::clamp<std::int64_t>(by_smem, 1, 2));
}

constexpr bool packs_heads(int q_heads, int kv_heads, std::int64_t window) {
  return q_heads > kv_heads && window == 0;
}

// `blocks` = sequences x KV heads x row blocks. The library plans for two CTAs an SM on every card.
constexpr int split_count(std::int64_t blocks, std::int64_t sms, std::int64_t key_tiles) {
  if (static_cast<double>(blocks) >= 0.8 * 2 * static_cast<double>(sms)) return 1;
  const std::int64_t slots = 2 * sms;
  const auto most = static_cast<int>(std::min<std::int64_t>(128, sms));
  return best_split_count(blocks, slots, key_tiles, most);
}

}  // namespace tessera::fa2
