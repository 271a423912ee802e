// FlashAttention-2 (Ampere, Ada, Blackwell consumer and server cards without FA3).
//
// A CTA of n key tiles takes tu + n (t_mma + t_exp + t_load): one stage, so the load is exposed unless a
// second CTA shares the SM; then a tile takes max(t_c + t_load, residents x t_c).
// Decode: CTAs of all sequences in the fluid queue; start-up exposed, queries and outputs on top.
// Anything with a prefill token: list schedule of the row blocks of every query head. The first pass over
// the keys of a group of G heads, 1 / clamp(waves, 1, G) of the work, overlaps device memory as the fourth
// root of the fourth powers, the rest what is read again; queries and outputs are spread evenly.
// Source of geometry: kernels/tiles/attention_fa2.hpp; of constants: AttentionParams::source.
#include "kernels/tiles/attention_fa2.hpp"
#include "kernels/cost/attention_ctas.hpp"
#include "kernels/cost/attention_kernels.hpp"
#include "kernels/cost/attention_machine.hpp"

namespace tessera::fa2 {
namespace {

constexpr double kPrefillExposed = 0.5;  // of prefill memory time that overlaps nothing
// A CTA without work waits once for its sequence's lengths and once to be replaced.
constexpr double kEmptyCtaLatencies = 2;

// CTAs on the slots of the card.
struct Residency {
  Residency(const AttentionMachine& m, TileShape t, double ctas, double paging = 1) {
    const int most = ctas_per_sm(m.shape.head_dim, m.shape.v_head_dim, m.gpu.smem_per_sm_bytes);
    per_sm = std::clamp(std::ceil(ctas / m.sms), 1.0, static_cast<double>(most));
    compute = m.mma_us(t) + m.exp_us(t);
    tile_us = std::max(compute + m.load_us(t), per_sm * compute) * paging;
    slots = m.sms * per_sm;
  }
  double per_sm;
  double compute;  // tensor and exponential time of a tile
  double tile_us;  // of one of `per_sm` resident CTAs
  double slots;
};

// Passes over a slab by a group of `heads` whose CTAs fill `waves`: one if they run together; a group
// that starts inside a wave touches up to one wave more than it fills.
double passes(double waves, double heads) {
  return waves <= 1 ? 1.0 : std::min(heads, waves + std::min(1.0, (waves - 1) / 2));
}

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
  CtaList list;
  const auto cta = [&](double tiles) { return m.cta_us() + std::max(1.0, tiles) * residency.tile_us; };
  for (std::size_t i = 0; i < lengths.known(); ++i)
    list.add(cta(static_cast<double>(tiles_of(window_tiles(lengths.length(i), shape.window, t.n), splits))),
             1);
  const double rest_tiles = lengths.rest_tiles(shape.window, t.n);
  if (lengths.others() > 0)
    list.add(cta(lengths.known() == 0 ? std::ceil(rest_tiles / splits) : rest_tiles / splits),
             static_cast<double>(lengths.others()));

  // Without packing every query head reads its KV head's bytes again, from L2.
  const double rereads = packed ? 0 : (group - 1) * kv * m.l2_us_per_byte;
  const double memory = kv * m.us_per_byte * m.paging() + rereads;
  const QueueTime main = queue_time({.lengths = list.sorted(),
                                     .copies = static_cast<double>(heads * row_blocks * splits),
                                     .last_is_mean = lengths.others() > 0 && lengths.known() > 0},
                                    residency.slots, memory, cta(1));
  const double write = m.kv_write_us(sequences);
  const double around = m.rates.launch_us + write + (packed ? m.copies_us(decodes.sequences, splits) : 0) +
                        (splits > 1 ? m.combine_us(rows, splits, shape.head_dim % 128 == 0 ? 4 : 8) : 0);
  OpTime time;
  time.total = around + heated(main.schedule, m.rates.heat) - main.schedule + main.total + io * m.us_per_byte;
  time.compute =
      lengths.visible() / t.n * static_cast<double>(heads * row_blocks) * residency.compute / m.sms;
  time.hbm = kv * (1 - m.hit) * m.hbm_us_per_byte * m.paging();
  time.l2 = kv * m.hit * m.l2_us_per_byte + rereads;
  time.launch = around;
  return time;
}

OpTime mixed_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes,
                  std::span<const PrefillChunk> chunks) {
  const TileShape t = tile(shape.head_dim);
  const auto sequences = static_cast<double>(decodes.sequences);
  const ContextLengths lengths(decodes, shape.window);
  const auto blocks_of = [&](const PrefillChunk& chunk) {
    return CausalBlocks{chunk.tokens, chunk.history, 1, shape.window, t};
  };
  std::int64_t tokens = 0, blocks = 0, tiles = 0, keys = 0, most_blocks = 1;
  for (const PrefillChunk& chunk : chunks) {
    const CausalBlocks c = blocks_of(chunk);
    tokens += chunk.tokens;
    blocks += c.row_blocks();
    tiles += c.total_tiles();
    keys += chunk.tokens + (shape.window > 0 ? std::min(chunk.history, shape.window - 1) : chunk.history);
    most_blocks = std::max(most_blocks, c.row_blocks());
  }
  const double heads = shape.q_heads;
  const double new_tokens = static_cast<double>(tokens) + sequences;
  const double ctas = heads * (static_cast<double>(blocks) + sequences);
  const double width = (shape.head_dim + shape.v_head_dim) * bytes_of(shape.dtype);
  const double token_bytes = (shape.head_dim + shape.v_head_dim) * bytes_of(shape.kv_dtype);
  const double slab = (static_cast<double>(keys) + lengths.visible()) * token_bytes;  // of one KV head
  const double kv = slab * shape.kv_heads;
  const double io = new_tokens * heads * width;
  const AttentionMachine m(gpu, shape, kv + io + new_tokens * shape.kv_heads * width);

  const Residency residency(m, t, ctas, m.paging());
  // Keys, cached or new, are gathered from pages.
  CtaList list;
  double decode_tiles = 0;
  const auto add_decode = [&](double key_tiles, double count) {
    decode_tiles += count * key_tiles;
    list.add(m.cta_us() + key_tiles * residency.tile_us, count);
  };
  for (std::size_t i = 0; i < lengths.known(); ++i)
    add_decode(static_cast<double>(window_tiles(lengths.length(i), shape.window, t.n)), 1);
  if (lengths.others() > 0)
    add_decode(lengths.rest_tiles(shape.window, t.n), static_cast<double>(lengths.others()));
  for (const PrefillChunk& chunk : chunks)
    list.add_blocks(blocks_of(chunk), chunks.size(), m.cta_us(), residency.tile_us);

  // The grid has as many row blocks for every sequence as the longest chunk needs; the others only look
  // at their length and leave.
  const double launched =
      heads * static_cast<double>(most_blocks) * (static_cast<double>(chunks.size()) + sequences);
  const double empty = (launched - ctas) / residency.slots * kEmptyCtaLatencies * gpu.l2_latency_ns * 1e-3;
  const double schedule =
      empty + queue_schedule({.lengths = list.sorted(), .copies = heads}, residency.slots);
  // The heads of one group read the same slab. Those that run in one wave share a pass over it; the
  // others pass over it again, from L2 while a slab fits.
  const double waves = ctas / shape.kv_heads / residency.slots;  // of one group
  const double again = (passes(waves, heads / shape.kv_heads) - 1) * kv;
  const double kept = m.reuse_hit(slab);
  // The first pass over a group's keys waits for device memory: its first wave, or its first head where one
  // head fills more. Then its keys are in L2 or are read again. The two phases follow each other, so memory
  // idles while the later heads compute; queries and outputs flow through both.
  const double first = 1 / std::clamp(waves, 1.0, heads / shape.kv_heads);
  const double cold = (kv + io * first) * m.us_per_byte;
  const double reread = again * (1 - kept) * m.bytes_us(0) + io * (1 - first) * m.us_per_byte;
  const double busy = heated(schedule, m.rates.heat);
  const double feed = again * kept * m.l2_us_per_byte;
  // Queries come in and outputs go out at the ends of a CTA, the new keys with its first tiles.
  const double exposed =
      kPrefillExposed * (io + static_cast<double>(tokens) * token_bytes * shape.kv_heads) * m.us_per_byte;
  OpTime time;
  time.launch = m.rates.launch_us + m.kv_write_us(new_tokens) + empty;
  time.total = m.rates.launch_us + m.kv_write_us(new_tokens) + overlap_tightly(busy * first, cold) +
               overlap_tightly(busy * (1 - first), reread) + exposed;
  time.compute = heads * (static_cast<double>(tiles) + decode_tiles) * residency.compute / m.sms;
  time.hbm = ((kv + io) * (1 - m.hit) + again * (1 - kept)) * m.hbm_us_per_byte;
  time.l2 = (kv + io) * m.hit * m.l2_us_per_byte + feed;
  return time;
}

}  // namespace tessera::fa2
