// FlashAttention-3 (Hopper) on a paged cache whose pages are no multiple of the key tile: keys come by
// cp.async instead of TMA, query heads are always packed, one CTA an SM.
//
// Up to 64 packed rows of head dim 64 or 128 without an active window run with one MMA warpgroup
// (M = 64). A window is active only if shorter than the longest context.
// The split count is chosen per sequence on the device, below a cap fixed at launch: 32 when the batch
// fits vLLM's graphs (512), else the 85 % rule for one sequence; above 992 sequences none.
// Source: hopper/tile_size.h, heuristics.h, flash_prepare_scheduler.cu and vllm flash_attn backend.
#pragma once

#include "kernels/tiles/attention_tiles.hpp"

namespace tessera::fa3 {

constexpr TileShape tile(int head_dim, std::int64_t packed_rows, bool active_window, bool fp8) {
  const bool small =
      packed_rows <= 64 && !active_window && (head_dim <= 64 || (head_dim > 96 && head_dim <= 128));
  if (fp8) {
    if (head_dim <= 64) return {192, 160};
    if (head_dim <= 128) return {128, active_window ? 128 : 160};
    if (head_dim <= 192) return {128, 160};
    return {128, active_window ? 64 : 128};
  }
  if (small) return {64, head_dim <= 64 ? 192 : 128};
  if (head_dim <= 64) return {192, active_window ? 160 : 128};
  if (head_dim <= 128) return {128, 128};
  if (head_dim <= 192) return {128, 96};
  return {128, active_window ? 64 : 80};
}

inline constexpr std::int64_t kGraphBatch = 512;      // vLLM's largest captured batch
inline constexpr int kGraphSplits = 32;               // and the split cap it sets for it
inline constexpr std::int64_t kScheduledBatch = 992;  // sequences the metadata kernel can plan for

// Static cap for `rows` packed rows of a KV head in one sequence.
constexpr int heuristic_splits(std::int64_t kv_heads, std::int64_t row_blocks, std::int64_t sms,
                               std::int64_t key_tiles) {
  const std::int64_t blocks = kv_heads * row_blocks;
  if (static_cast<double>(blocks) >= 0.8 * static_cast<double>(sms) || key_tiles <= 4) return 1;
  return best_split_count(blocks, sms, key_tiles, 128);
}

constexpr int split_cap(bool decode, std::int64_t sequences, std::int64_t kv_heads, std::int64_t row_blocks,
                        std::int64_t sms, std::int64_t key_tiles) {
  if (sequences > kScheduledBatch) return 1;
  if (decode && sequences <= kGraphBatch) return kGraphSplits;
  return heuristic_splits(kv_heads, row_blocks, sms, key_tiles);
}

// Key tiles one CTA should take so that all SMs finish together, from the sum over sequences of row
// blocks x key tiles of one KV head.
constexpr std::int64_t tiles_per_cta(std::int64_t kv_heads, std::int64_t block_tiles, std::int64_t sms) {
  return std::max<std::int64_t>(1, tiles_of(11 * kv_heads * block_tiles, 10 * sms));
}
constexpr int splits_of(std::int64_t key_tiles, std::int64_t per_cta, int cap) {
  return static_cast<int>(std::clamp<std::int64_t>(tiles_of(key_tiles, per_cta), 1, cap));
}

}  // namespace tessera::fa3
