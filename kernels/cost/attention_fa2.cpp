// FlashAttention-2 (Ampere, Ada, Blackwell consumer and server cards without FA3).
//
// A CTA of n key tiles takes tu + n (t_mma + t_exp + t_load): one stage, so the load is exposed unless a
// second CTA shares the SM; then a tile takes max(t_c + t_load, residents x t_c).
// Decode: CTAs of all sequences in the fluid queue; start-up exposed, queries and outputs on top.
// Prefill: list schedule of the row blocks, longest last in each head, so the tail costs 2/3 of a block.
// Source of geometry: kernels/tiles/attention_fa2.hpp; of constants: AttentionParams::source.
#include "kernels/cost/attention_kernels.hpp"
#include "kernels/cost/attention_lengths.hpp"
#include "kernels/cost/attention_machine.hpp"
#include "kernels/cost/attention_queue.hpp"
#include "kernels/tiles/attention_fa2.hpp"

#include <array>

namespace tessera::fa2 {
namespace {

constexpr double kAscendingTail = 2.0 / 3;   // of the longest CTA, uniform lengths, longest dispatched last
constexpr double kPrefillExposed = 0.5;      // of prefill memory time that overlaps nothing

// CTAs on the slots of the card.
struct Residency {
  Residency(const AttentionMachine& m, TileShape t, double ctas) {
    const int most = ctas_per_sm(m.shape.head_dim, m.shape.v_head_dim, m.gpu.smem_per_sm_bytes);
    per_sm = std::clamp(std::ceil(ctas / m.sms), 1.0, static_cast<double>(most));
    compute = m.mma_us(t) + m.exp_us(t);
    tile_us = std::max(compute + m.load_us(t), per_sm * compute);
    slots = m.sms * per_sm;
  }
  double per_sm;
  double compute;  // tensor and exponential time of a tile
  double tile_us;  // of one of `per_sm` resident CTAs
  double slots;
};

double heated(double us, double heat) { return us * (1 + heat * us / (us + 4000)); }

}  // namespace

OpTime decode_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes) {
  const ContextLengths lengths(decodes, shape.window);
  const TileShape t = tile(shape.head_dim);
  const bool packed = packs_heads(shape.q_heads, shape.kv_heads, shape.window);
  const int group = shape.q_heads / shape.kv_heads;
  const std::int64_t row_blocks = packed ? tiles_of(group, t.m) : 1;
  const std::int64_t heads = packed ? shape.kv_heads : shape.q_heads;
  const std::int64_t longest_tiles = tiles_of(lengths.longest(), t.n);
  int splits = packed ? split_count(decodes.sequences * heads * row_blocks, gpu.sms, longest_tiles) : 1;
  splits = static_cast<int>(tiles_of(longest_tiles, tiles_of(longest_tiles, splits)));  // the non-empty ones

  const auto sequences = static_cast<double>(decodes.sequences);
  const double rows = sequences * shape.q_heads;
  const double token_bytes = shape.kv_heads * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.kv_dtype);
  const double kv = lengths.visible() * token_bytes;
  const double io = rows * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.dtype);
  const double copies = packed ? rows * 2 * shape.head_dim * bytes_of(shape.dtype) : 0;
  const double partials = splits > 1 ? rows * splits * (shape.v_head_dim + 1) * 4.0 : 0;
  const AttentionMachine m(gpu, shape, kv + io + copies + partials);

  const double ctas = sequences * static_cast<double>(heads * row_blocks * splits);
  const Residency residency(m, t, ctas);
  std::array<double, kLongestUsed> known;
  const auto cta = [&](double tiles) { return m.cta_us() + tiles * residency.tile_us; };
  for (std::size_t i = 0; i < lengths.known(); ++i)
    known[i] = cta(static_cast<double>(tiles_of(window_tiles(lengths.length(i), shape.window, t.n), splits)));
  double rest_tiles = lengths.rest_tiles(t.n);
  if (shape.window > 0 && lengths.others() > 0)
    rest_tiles = static_cast<double>(window_tiles(static_cast<std::int64_t>(std::ceil(lengths.rest())), shape.window, t.n));
  const double rest = cta(lengths.known() == 0 ? std::ceil(rest_tiles / splits) : std::max(1.0, rest_tiles / splits));

  // Without packing every query head reads its KV head's bytes again, from L2.
  const double rereads = packed ? 0 : (group - 1) * kv * m.l2_us_per_byte;
  const double memory = kv * m.us_per_byte * m.paging() + rereads;
  const QueueTime main = queue_time({.longest = {known.data(), lengths.known()},
                                     .kinds = decodes.sequences,
                                     .rest = rest,
                                     .copies = static_cast<double>(heads * row_blocks * splits)},
                                    residency.slots, memory, cta(1));
  const double write = m.kv_write_us(sequences);
  const double around = m.rates.launch_us + write + (packed ? m.copies_us(decodes.sequences, splits) : 0) +
                        (splits > 1 ? m.combine_us(rows, splits, shape.head_dim % 128 == 0 ? 4 : 8) : 0);
  OpTime time;
  time.total = around + heated(main.schedule, m.rates.heat) - main.schedule + main.total + io * m.us_per_byte;
  time.compute = ctas * residency.compute * (rest_tiles / splits) / m.sms;
  time.hbm = kv * (1 - m.hit) / (m.rates.hbm_fraction * gpu.hbm_bytes_per_us()) * m.paging();
  time.l2 = kv * m.hit * m.l2_us_per_byte + rereads;
  time.launch = around;
  return time;
}

OpTime chunks_time(const Gpu& gpu, const AttentionShape& shape, std::span<const PrefillChunk> chunks) {
  return mixed_time(gpu, shape, DecodeBatch{}, chunks);
}

OpTime mixed_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes,
                  std::span<const PrefillChunk> chunks) {
  const TileShape t = tile(shape.head_dim);
  std::int64_t tokens = 0, blocks = 0, tiles = 0, keys = 0, longest = 0;
  for (const PrefillChunk& chunk : chunks) {
    const CausalBlocks c{chunk.tokens, chunk.history, 1, shape.window, t};
    tokens += chunk.tokens;
    blocks += c.row_blocks();
    tiles += c.total_tiles();
    keys += chunk.tokens + (shape.window > 0 ? std::min(chunk.history, shape.window - 1) : chunk.history);
    longest = std::max(longest, c.longest());
  }
  double decode_tiles = 0, decode_keys = 0;
  if (decodes.sequences > 0) {
    const ContextLengths lengths(decodes, shape.window);
    const auto mean = static_cast<double>(decodes.kv_tokens) / static_cast<double>(decodes.sequences);
    decode_keys = lengths.visible();
    decode_tiles = decodes.longest.empty() ? std::ceil(mean / t.n) : mean / t.n + 0.5;
    if (shape.window > 0) decode_tiles = std::min(decode_tiles, static_cast<double>(shape.window) / t.n + 1);
    decode_tiles *= static_cast<double>(decodes.sequences);
    longest = std::max(longest, window_tiles(lengths.longest(), shape.window, t.n));
  }
  const double heads = shape.q_heads;
  const double new_tokens = static_cast<double>(tokens + decodes.sequences);
  const double ctas = heads * static_cast<double>(blocks + decodes.sequences);
  const double work_tiles = heads * (static_cast<double>(tiles) + decode_tiles);
  const double token_bytes = shape.kv_heads * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.kv_dtype);
  const double kv = (static_cast<double>(keys) + decode_keys) * token_bytes;
  const double io = new_tokens * heads * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.dtype);
  const double inputs = new_tokens * shape.kv_heads * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.dtype);
  const AttentionMachine m(gpu, shape, kv + io + inputs);

  const Residency residency(m, t, ctas);
  const double longest_us = m.cta_us() + static_cast<double>(longest) * residency.tile_us;
  const double work = ctas * m.cta_us() + work_tiles * residency.tile_us;
  double schedule = longest_us;
  if (ctas > residency.slots) {
    const bool equal = std::abs(work - ctas * longest_us) < 1e-6 * work;
    schedule = equal ? std::ceil(ctas / residency.slots) * longest_us
                     : std::max(longest_us, work / residency.slots + kAscendingTail * longest_us);
  }
  const double memory = (kv + io) * m.us_per_byte;
  const double write = m.kv_write_us(new_tokens);
  OpTime time;
  time.launch = m.rates.launch_us + write;
  time.total = time.launch + overlap_tightly(heated(schedule, m.rates.heat), memory) + kPrefillExposed * memory;
  time.compute = work_tiles * residency.compute / m.sms;
  time.hbm = (kv + io) * (1 - m.hit) / (m.rates.hbm_fraction * gpu.hbm_bytes_per_us());
  time.l2 = (kv + io) * m.hit * m.l2_us_per_byte;
  return time;
}

}  // namespace tessera::fa2
