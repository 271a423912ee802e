// Absorbed decode: CTAs of 64 heads x 64 tokens, split over the keys so that every SM has work, and combined:
//   T = T0 + tu + t_load + ((tiles / SM) max(t_c, t_load / row blocks) (+) records ib) + (queries + outputs)
//   ib + Tc, t_c = cm 2 64 64 (qk + v) / tensor rate + ce 64 64 / exponential rate,
// where (+) is the cube root of the sum of cubes and row blocks of one sequence share what they load. The
// records are read once for all heads. Expanded prefill: row blocks of 128 queries of every head,
// list-scheduled, causal. Parameters are those of attention (AttentionRates); nothing is fitted here. Source
// of the forms: DeepSeek-V2 report section 2.1, FlashMLA's 64 x 64 tiles; compared with public generation_mla
// and context_mla tables in tests/unit/kernels/mla_data_test.cpp. Left out: the absorb products (GEMMs of
// their own), page gather, TRT-LLM's own tile shapes.
#include "kernels/cost/mla.hpp"

#include <algorithm>

#include "kernels/cost/attention_ctas.hpp"
#include "kernels/cost/attention_machine.hpp"
#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr TileShape kDecodeTile{64, 64};
constexpr TileShape kPrefillTile{128, 128};
constexpr double kLeastTilesPerCta = 4;  // fewer are not worth a split

// Tokens each sequence attends to, summed.
double attended(const MlaShape& shape, const DecodeBatch& decodes) {
  return ContextLengths(decodes, shape.read_limit).visible();
}

AttentionShape as_attention(const MlaShape& shape) {
  AttentionShape a;
  a.q_heads = a.kv_heads = shape.heads;
  a.head_dim = shape.qk_dim, a.v_head_dim = shape.v_dim;
  a.dtype = a.kv_dtype = shape.dtype;
  a.replayed = shape.replayed;
  return a;
}

double io_bytes(const MlaShape& shape, double queries) {
  // An indexer writes no output rows: its scores stay with the selection that follows.
  return queries * shape.heads * (shape.qk_dim + shape.v_dim) * bytes_of(shape.dtype);
}

double visible_pairs(const PrefillChunk& chunk) {
  const auto s = static_cast<double>(chunk.tokens);
  return s * static_cast<double>(chunk.history) + s * (s + 1) / 2;
}

double floor_of(const Gpu& gpu, const MlaShape& shape, double flops, double bytes) {
  const double pins = shape.replayed ? std::max(0.0, bytes - static_cast<double>(gpu.l2_bytes.value)) : bytes;
  return physics_floor_us(flops, gpu.peak_flops(shape.dtype), pins, gpu.hbm_bytes_per_us());
}

}  // namespace

OpTime mla_decode_time(const Gpu& gpu, const MlaShape& shape, const DecodeBatch& decodes) {
  if (decodes.sequences == 0) return {};
  TESSERA_CHECK(decodes.kv_tokens >= decodes.sequences, "a context length counts the token being decoded");
  const double tokens = attended(shape, decodes);
  const auto sequences = static_cast<double>(decodes.sequences);
  const double records = tokens * shape.record_bytes;
  const double io = io_bytes(shape, sequences);
  const AttentionShape a = as_attention(shape);
  const AttentionMachine m(gpu, a, records + io);

  const TileShape t = kDecodeTile;
  const double compute = m.mma_us(t) + (shape.v_dim > 0 ? m.exp_us(t) : 0.0);
  const double load = m.latency_us + t.n * shape.record_bytes / (m.rates.cta_gb_s * 1e3);
  const auto row_blocks = static_cast<double>(tiles_of(shape.heads, t.m));
  const double tiles = row_blocks * (tokens / t.n + sequences / 2);
  const double longest = std::ceil(tokens / sequences / t.n);
  const double fewest = std::min(longest, kLeastTilesPerCta);
  const double schedule = std::max(fewest, tiles / m.sms) * std::max(compute, load / row_blocks);
  const double memory = records * m.us_per_byte;

  OpTime time;
  time.launch = m.rates.launch_us + m.rates.cta_us + load + m.rates.combine_us;
  time.total = time.launch + overlap(schedule, memory) + io * m.us_per_byte;
  time.compute = tiles * compute / m.sms;
  time.hbm = (records + io) * (1 - m.hit) * m.hbm_us_per_byte;
  time.l2 = (records + io) * m.hit * m.l2_us_per_byte;
  time.total = std::max(time.total, mla_decode_floor_us(gpu, shape, decodes));
  return time;
}

OpTime mla_prefill_time(const Gpu& gpu, const MlaShape& shape, std::span<const PrefillChunk> chunks) {
  if (chunks.empty()) return {};
  const TileShape t = kPrefillTile;
  double queries = 0, keys = 0, blocks = 0, tiles = 0;
  for (const PrefillChunk& chunk : chunks) {
    const CausalBlocks c{chunk.tokens, chunk.history, 1, 0, t};
    queries += static_cast<double>(chunk.tokens);
    keys += static_cast<double>(chunk.tokens + chunk.history);
    blocks += static_cast<double>(c.row_blocks()), tiles += static_cast<double>(c.total_tiles());
  }
  // The expanded keys and values of every head, read once; query blocks of a head share them through L2.
  const double expanded = keys * shape.heads * (shape.qk_dim + shape.v_dim) * bytes_of(shape.dtype);
  const double io = io_bytes(shape, queries);
  const AttentionShape a = as_attention(shape);
  const AttentionMachine m(gpu, a, expanded + io);
  const double compute = m.mma_us(t) + m.exp_us(t);
  const double fixed = m.rates.cta_us + m.rates.mask_us;
  CtaList list;
  for (const PrefillChunk& chunk : chunks)
    list.add_blocks({chunk.tokens, chunk.history, 1, 0, t}, chunks.size(), fixed, compute);
  const double schedule =
      queue_time({.lengths = list.sorted(), .copies = static_cast<double>(shape.heads)}, m.sms, 0, 0).total;
  const double memory = (expanded + io) * m.us_per_byte;

  OpTime time;
  time.launch = m.rates.launch_us + m.rates.prefill_launch_us;
  time.total =
      time.launch + overlap_tightly(schedule * (1 + m.rates.heat * schedule / (schedule + 4000)), memory);
  time.compute = tiles * shape.heads * compute / m.sms;
  time.hbm = (expanded + io) * (1 - m.hit) * m.hbm_us_per_byte;
  time.l2 = (expanded + io) * m.hit * m.l2_us_per_byte;
  time.total = std::max(time.total, mla_prefill_floor_us(gpu, shape, chunks));
  return time;
}

double mla_decode_floor_us(const Gpu& gpu, const MlaShape& shape, const DecodeBatch& decodes) {
  if (decodes.sequences == 0) return 0;
  const double tokens = attended(shape, decodes);
  return floor_of(gpu, shape, 2.0 * shape.heads * (shape.qk_dim + shape.v_dim) * tokens,
                  tokens * shape.record_bytes + io_bytes(shape, static_cast<double>(decodes.sequences)));
}

double mla_prefill_floor_us(const Gpu& gpu, const MlaShape& shape, std::span<const PrefillChunk> chunks) {
  double flops = 0, bytes = 0;
  for (const PrefillChunk& chunk : chunks) {
    flops += 2.0 * shape.heads * (shape.qk_dim + shape.v_dim) * visible_pairs(chunk);
    bytes += static_cast<double>(chunk.tokens + chunk.history) * shape.record_bytes +
             io_bytes(shape, static_cast<double>(chunk.tokens));
  }
  return floor_of(gpu, shape, flops, bytes);
}

}  // namespace tessera
