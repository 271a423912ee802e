// FlashAttention-3 (Hopper).
//
// A producer warp loads ahead, so a decode tile takes max(0.2 t_c, t_load) and a prefill tile max(t_c,
// t_load), t_c = t_mma + t_exp (they add; softmax of one warpgroup hides behind little). In fp8 V is
// transposed between load and MMA: max(max(t_c, t_lat) + t_x, t_load), and waiting for HBM hides behind it
// (the tables show one rate a CTA with 32 CTAs and with 128), so the longer of schedule and memory counts.
// Causal and windowed CTAs pay tmask each. One CTA an SM. Splits per sequence are planned on the device so
// that all SMs finish together; the combine kernel runs whenever splits were allowed. Prefill: longest row
// blocks first, so the tail costs little. Source of geometry: kernels/tiles/attention_fa3.hpp; of constants:
// AttentionParams::source.
#include "kernels/tiles/attention_fa3.hpp"
#include "kernels/cost/attention_kernels.hpp"
#include "kernels/cost/attention_lengths.hpp"
#include "kernels/cost/attention_machine.hpp"

#include <array>

namespace tessera::fa3 {
namespace {

constexpr double kDecodeCompute = 0.2;       // of t_c that the producer does not hide in decode
constexpr double kDescendingTail = 0.3;      // of the longest CTA, longest dispatched first
constexpr double kPrefillExposed = 0.5;      // of prefill memory time that overlaps nothing
constexpr double kUnsplitCombineUs = 0.016;  // combine kernel, per sequence it finds nothing to do for

bool is_fp8(const AttentionShape& shape) { return bytes_of(shape.kv_dtype) == 1; }
double mask_us(const AttentionMachine& m, TileShape t) { return m.rates.mask_us * t.m * t.n / 16384.0; }
double heated(double us, double heat) { return us * (1 + heat * us / (us + 4000)); }

}  // namespace

OpTime decode_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes) {
  const ContextLengths lengths(decodes, shape.window);
  const int group = shape.q_heads / shape.kv_heads;
  const bool windowed = shape.window > 0 && shape.window < lengths.longest();
  const TileShape t = tile(shape.head_dim, group, true, windowed, is_fp8(shape));
  const std::int64_t row_blocks = tiles_of(group, t.m);
  const std::int64_t longest_tiles = tiles_of(lengths.longest(), t.n);
  const int cap = split_cap(true, decodes.sequences, shape.kv_heads, row_blocks, gpu.sms, longest_tiles);

  // The plan counts full contexts, even under a window: splits outside it are empty.
  std::array<std::int64_t, kLongestUsed> full;
  std::int64_t planned = 0;
  for (std::size_t i = 0; i < lengths.known(); ++i) planned += full[i] = tiles_of(lengths.length(i), t.n);
  const double rest_full = lengths.others() > 0 ? lengths.rest_tiles(0, t.n) : 0;
  const auto all_tiles =
      planned + static_cast<std::int64_t>(rest_full * static_cast<double>(lengths.others()));
  const std::int64_t per_cta = tiles_per_cta(shape.kv_heads, row_blocks * all_tiles, gpu.sms);

  const auto sequences = static_cast<double>(decodes.sequences);
  const double rows = sequences * shape.q_heads;
  const double token_bytes = shape.kv_heads * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.kv_dtype);
  const double kv = lengths.visible() * token_bytes;
  const double io = rows * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.dtype);

  // CTAs: sequence i runs as splits_i CTAs of visible_i / splits_i tiles.
  double ctas = 0, work_tiles = 0, longest_cta = 0, split_rows = 0, most_splits = 1;
  const auto add = [&](double count, double whole, double visible) {
    const double planned_splits = splits_of(static_cast<std::int64_t>(std::ceil(whole)), per_cta, cap);
    const double tiles = std::ceil(visible / planned_splits);
    const double splits = std::ceil(visible / tiles);  // the non-empty ones
    ctas += count * splits, work_tiles += count * visible;
    longest_cta = std::max(longest_cta, tiles);
    most_splits = std::max(most_splits, splits);
    if (splits > 1) split_rows += count * splits;
  };
  for (std::size_t i = 0; i < lengths.known(); ++i)
    add(1, static_cast<double>(full[i]),
        static_cast<double>(seen_tiles(lengths.length(i), shape.window, t.n)));
  if (lengths.others() > 0) {
    const auto rest = static_cast<std::int64_t>(std::ceil(lengths.rest()));
    const double visible = windowed ? static_cast<double>(seen_tiles(rest, shape.window, t.n)) : rest_full;
    add(static_cast<double>(lengths.others()), rest_full, visible);
  }
  const double heads = static_cast<double>(shape.kv_heads * row_blocks);
  ctas *= heads, work_tiles *= heads;
  const double partials = split_rows * shape.q_heads * (shape.v_head_dim + 1) * 4.0;
  const AttentionMachine m(gpu, shape, kv + io + partials);

  const double compute = m.mma_us(t) + m.exp_us(t);
  const double tile_us = is_fp8(shape)
                             ? std::max(std::max(compute, m.latency_us) + m.transpose_us(t), m.load_us(t))
                             : std::max(kDecodeCompute * compute, m.load_us(t));
  const double fixed = m.cta_us() + (windowed ? mask_us(m, t) : 0);
  // Equal CTAs run in waves; unequal ones share out their work behind the longest.
  const double longest_us = fixed + longest_cta * tile_us;
  const double work = ctas * fixed + work_tiles * tile_us;
  double schedule = std::ceil(ctas / m.sms) * longest_us;
  if (lengths.known() > 0)
    schedule = std::min(schedule, work / m.sms + longest_us * (1 - 1 / std::ceil(ctas / m.sms)));
  schedule = std::max(schedule, longest_us);
  const double start = std::min(schedule, fixed + tile_us);
  const double memory = kv * m.us_per_byte * m.paging();
  const double main =
      start + (is_fp8(shape) ? std::max(schedule - start, memory) : overlap(schedule - start, memory));

  double after = 0;
  if (cap > 1) after = most_splits > 1 ? m.combine_us(rows, most_splits, 8) : kUnsplitCombineUs * sequences;
  OpTime time;
  time.launch = m.rates.launch_us + m.kv_write_us(sequences) + after;
  time.total = time.launch + heated(schedule, m.rates.heat) - schedule + main + io * m.us_per_byte;
  time.compute = work_tiles * compute / m.sms;
  time.hbm = kv * (1 - m.hit) * m.hbm_us_per_byte * m.paging();
  time.l2 = kv * m.hit * m.l2_us_per_byte;
  return time;
}

OpTime mixed_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes,
                  std::span<const PrefillChunk> chunks) {
  const std::int64_t group = shape.q_heads / shape.kv_heads;
  std::int64_t tokens = 0, keys = 0, most_keys = 0, most_queries = decodes.sequences > 0 ? 1 : 0;
  for (const PrefillChunk& chunk : chunks) {
    tokens += chunk.tokens;
    keys += chunk.tokens + (shape.window > 0 ? std::min(chunk.history, shape.window - 1) : chunk.history);
    most_keys = std::max(most_keys, chunk.tokens + chunk.history);
    most_queries = std::max(most_queries, chunk.tokens);
  }
  double decode_keys = 0;
  std::int64_t decode_longest = 0;
  if (decodes.sequences > 0) {
    const ContextLengths lengths(decodes, shape.window);
    decode_keys = lengths.visible();
    decode_longest = lengths.longest();
    most_keys = std::max(most_keys, decode_longest);
  }
  const bool windowed = shape.window > 0 && shape.window < most_keys;
  const TileShape t = tile(shape.head_dim, most_queries * group, most_queries == 1, windowed, is_fp8(shape));
  const std::int64_t sequences = static_cast<std::int64_t>(chunks.size()) + decodes.sequences;
  const int cap = split_cap(false, sequences, shape.kv_heads, tiles_of(most_queries * group, t.m), gpu.sms,
                            tiles_of(most_keys, t.n));

  std::int64_t planned = 0;
  for (const PrefillChunk& chunk : chunks)
    planned += tiles_of(chunk.tokens * group, t.m) * tiles_of(chunk.tokens + chunk.history, t.n);
  double mean_tiles = 0, mean_visible = 0;
  if (decodes.sequences > 0) {
    const double mean = static_cast<double>(decodes.kv_tokens) / static_cast<double>(decodes.sequences);
    mean_tiles = decodes.longest.empty() ? std::ceil(mean / t.n) : mean / t.n + 0.5;
    mean_visible =
        windowed ? std::min(mean_tiles, std::ceil(static_cast<double>(shape.window) / t.n)) : mean_tiles;
    planned +=
        static_cast<std::int64_t>(mean_tiles * static_cast<double>(decodes.sequences * tiles_of(group, t.m)));
  }
  const std::int64_t per_cta = tiles_per_cta(shape.kv_heads, planned, gpu.sms);

  double ctas = 0, work_tiles = 0, longest_cta = 0, most_splits = 1, partial_rows = 0;
  for (const PrefillChunk& chunk : chunks) {
    const CausalBlocks c{chunk.tokens, chunk.history, group, windowed ? shape.window : 0, t, true};
    const int splits = splits_of(tiles_of(c.keys(), t.n), per_cta, cap);
    ctas += static_cast<double>(c.row_blocks() * splits);
    work_tiles += static_cast<double>(c.total_tiles());
    longest_cta = std::max(longest_cta, static_cast<double>(tiles_of(c.longest(), splits)));
    most_splits = std::max(most_splits, static_cast<double>(splits));
    if (splits > 1) partial_rows += static_cast<double>(chunk.tokens * splits);
  }
  if (decodes.sequences > 0) {
    const auto n = static_cast<double>(decodes.sequences * tiles_of(group, t.m));
    const int splits = splits_of(static_cast<std::int64_t>(std::ceil(mean_tiles)), per_cta, cap);
    ctas += n * splits;
    work_tiles += n * mean_visible;
    longest_cta = std::max(
        longest_cta, static_cast<double>(tiles_of(seen_tiles(decode_longest, shape.window, t.n),
                                                  splits_of(tiles_of(decode_longest, t.n), per_cta, cap))));
    most_splits = std::max(most_splits, static_cast<double>(splits));
    if (splits > 1) partial_rows += static_cast<double>(decodes.sequences * splits);
  }
  ctas *= shape.kv_heads, work_tiles *= shape.kv_heads;

  const auto new_tokens = static_cast<double>(tokens + decodes.sequences);
  const double token_bytes = shape.kv_heads * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.kv_dtype);
  const double kv = (static_cast<double>(keys) + decode_keys) * token_bytes;
  const double io = new_tokens * shape.q_heads * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.dtype);
  const double inputs =
      new_tokens * shape.kv_heads * (shape.head_dim + shape.v_head_dim) * bytes_of(shape.dtype);
  const double partials = partial_rows * shape.q_heads * (shape.v_head_dim + 1) * 4.0;
  const AttentionMachine m(gpu, shape, kv + io + inputs + partials);

  const double compute = m.mma_us(t) + m.exp_us(t);
  const double tile_us = std::max(compute + m.transpose_us(t), m.load_us(t));
  const double fixed = m.cta_us() + (t.m > 64 ? mask_us(m, t) : 0);
  const double longest_us = fixed + longest_cta * tile_us;
  const double work = ctas * fixed + work_tiles * tile_us;
  double schedule = longest_us;
  if (ctas > m.sms) {
    const bool equal = std::abs(work - ctas * longest_us) < 1e-6 * work;
    schedule = equal ? std::ceil(ctas / m.sms) * longest_us
                     : std::max(longest_us, work / m.sms + kDescendingTail * longest_us);
  }
  const double memory = (kv + io) * m.us_per_byte;
  double after = 0;
  if (cap > 1)
    after = most_splits > 1 ? m.combine_us(new_tokens * shape.q_heads, most_splits, 8)
                            : kUnsplitCombineUs * static_cast<double>(sequences);
  OpTime time;
  time.launch = m.rates.launch_us + m.rates.prefill_launch_us + m.kv_write_us(new_tokens) + after;
  time.total =
      time.launch + overlap_tightly(heated(schedule, m.rates.heat), memory) + kPrefillExposed * memory;
  time.compute = work_tiles * compute / m.sms;
  time.hbm = (kv + io) * (1 - m.hit) * m.hbm_us_per_byte;
  time.l2 = (kv + io) * m.hit * m.l2_us_per_byte;
  return time;
}

}  // namespace tessera::fa3
