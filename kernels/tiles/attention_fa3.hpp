// FlashAttention-3 (Hopper) on a paged cache whose pages are no multiple of the key tile: keys come by
// cp.async instead of TMA, query heads are always packed, one CTA an SM.
//
// Up to 64 packed rows of head dim 64 or 128 without an active window run with one MMA warpgroup
// (M = 64). A window is active only if shorter than the longest context.
// fp8 tiles are smaller than upstream's, as two-level accumulation takes registers: {64, 128} of head dim 64
// is in the fork; 96 keys of 128 and 192 are where the public decode tables step (64, 128, 256, 512 tokens).
// The split count is chosen per sequence on the device, below a cap fixed at launch: 32 when the batch
// fits vLLM's graphs (512), else the 85 % rule for one sequence; above 992 sequences none.
// Source: hopper/tile_size.h, heuristics.h, flash_prepare_scheduler.cu and vllm flash_attn backend.
#pragma once

#include "kernels/tiles/attention_tiles.hpp"

namespace tessera::fa3 {

constexpr TileShape tile(int head_dim, std::int64_t packed_rows, bool decode, bool active_window, bool fp8) {
  const bool small = packed_rows <= 64 && !active_window &&
                     ((decode && head_dim <= 64) || (head_dim > 96 && head_dim <= 128));
  if (fp8) {
    if (small) return {64, head_dim <= 64 ? 128 : 96};
    if (head_dim <= 64) return {192, 160};
    if (head_dim <= 128) return {128, 160};
    if (head_dim <= 192) return {128, 96};
    return {128, active_window ? 64 : 128};
  }
  if (small) return {64, head_dim <= 64 ? 192 : 128};
  if (head_dim <= 64) return {192, active_window ? 160 : 128};
  if (head_dim <= 128) return {128, 128};
  if (head_dim <= 192) return {128, 96};
  return {128, active_window ? 64 : 80};
}

// Dense tensors, keys by TMA: larger tiles where no mask needs the registers.
constexpr TileShape dense_tile(int head_dim, int v_head_dim, bool causal, bool local, bool fp8) {
  if (fp8) {
    if (head_dim <= 64) return {192, 160};
    if (head_dim <= 96) return {192, 128};
    if (head_dim <= 128) return {128, 224};
    if (head_dim <= 192) return {128, 160};
    return {128, local ? 64 : 128};
  }
  if (head_dim <= 64) return {192, causal ? 128 : local ? 160 : 192};
  if (head_dim <= 96) return {192, local ? 128 : 144};
  if (head_dim <= 128) return {128, causal || local ? 128 : 176};
  if (head_dim <= 192) return {128, local ? 96 : v_head_dim <= 128 ? 128 : 112};
  return {128, local ? 64 : 80};
}
// Few rows of head dimension 128 leave the second of two multiplying warpgroups without work.
constexpr bool one_warpgroup(int head_dim, std::int64_t rows, bool fp8) {
  return !fp8 && head_dim > 96 && head_dim <= 128 && rows <= 64;
}
// Key tiles of a decode: from the first key its window holds.
constexpr std::int64_t seen_tiles(std::int64_t keys, std::int64_t window, std::int64_t n) {
  return tiles_of(window > 0 ? std::min(keys, window) : keys, n);
}
// Two stages of K and V beside Q, 2 bytes an element.
constexpr std::int64_t smem_bytes(TileShape t, int head_dim, int v_head_dim, double element_bytes) {
  const std::int64_t elements =
      std::int64_t{t.m} * head_dim + 2 * std::int64_t{t.n} * (head_dim + v_head_dim);
  return static_cast<std::int64_t>(static_cast<double>(elements) * element_bytes);
}
// One warpgroup loads, one for every 64 rows multiplies; together they own the register file.
constexpr int threads(TileShape t) { return 128 * (1 + t.m / 64); }

// Query heads share a row block if that fills blocks more than a tenth better.
constexpr bool packs_dense(std::int64_t queries, std::int64_t group, std::int64_t m) {
  const auto filled = [m](std::int64_t rows) {
    return static_cast<double>(rows) / static_cast<double>(tiles_of(rows, m) * m);
  };
  return filled(queries) < 0.9 * filled(queries * group);
}

// (sequence, head) planes whose K and V fit 32 MB, a power of two: CTAs of one section run longest first.
constexpr std::int64_t section_planes(std::int64_t keys, std::int64_t token_bytes,
                                      std::int64_t heads_per_kv) {
  const std::int64_t fit = (std::int64_t{32} << 20) / std::max<std::int64_t>(1, keys * token_bytes);
  std::int64_t planes = 1;
  while (2 * planes <= fit) planes *= 2;
  return planes * heads_per_kv;
}

// Heads of an unsplit sequence whose keys fit this many bytes run side by side, longest rows first.
inline constexpr double kRaggedSection = 8 << 20;

inline constexpr std::int64_t kGraphBatch = 512;      // vLLM's largest captured batch
inline constexpr int kGraphSplits = 32;               // and the split cap it sets for it
inline constexpr std::int64_t kScheduledBatch = 992;  // sequences the metadata kernel can plan for

// Static cap for `rows` packed rows of a KV head in one sequence.
constexpr int heuristic_splits(std::int64_t kv_heads, std::int64_t row_blocks, std::int64_t sms,
                               std::int64_t key_tiles) {
  const std::int64_t blocks = kv_heads * row_blocks;
  if (static_cast<double>(blocks) >= 0.8 * static_cast<double>(sms) || key_tiles <= 4) return 1;
  if (key_tiles <= 8 && blocks >= 32) return 1;
  // Splits of fewer than four tiles count 15 % less; the first within 5 % of the best is taken.
  const auto limit = static_cast<int>(std::min<std::int64_t>({128, sms, key_tiles}));
  const auto efficiency = [&](int s) {
    const std::int64_t work = blocks * s;
    const double e = static_cast<double>(work) / static_cast<double>(tiles_of(work, sms) * sms);
    return key_tiles / s < 4 ? 0.85 * e : e;
  };
  double best = 0;
  for (int s = 1; s <= limit; ++s) best = std::max(best, efficiency(s));
  for (int s = 1; s <= limit; ++s)
    if (efficiency(s) >= 0.95 * best) return s;
  return 1;
}

// Dense tensors without a mask are also split, into parts of 50 MB, where one KV head's keys exceed L2 and
// many row blocks would pass over them.
constexpr int dense_splits(std::int64_t planes, std::int64_t row_blocks, std::int64_t sms,
                           std::int64_t key_tiles, std::int64_t kv_head_bytes, bool masked) {
  constexpr std::int64_t kL2 = std::int64_t{50} << 20;
  const bool enough = static_cast<double>(planes * row_blocks) >= 0.8 * static_cast<double>(sms);
  if (enough && !masked && kv_head_bytes > kL2 && row_blocks >= 2 * sms)
    return static_cast<int>(std::min<std::int64_t>(tiles_of(kv_head_bytes, kL2), 128));
  return heuristic_splits(planes, row_blocks, sms, key_tiles);
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
