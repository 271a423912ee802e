// Measured kernel times, interpolated. With a reference time r(shape) from the
// closed forms of this room,
//   utilisation u = r(shape as measured) / measured time,       time = r(shape
//   asked for) / u(nearest rows).
// Latency spans six decades and bends at every tile; u is nearly flat. ln u
// comes from a plane through the 16 nearest rows in log2 of every axis (GEMM:
// m, n, k; attention: query heads, KV heads, sequences, tokens), weighted by
// inverse squared distance and less if off the plane; a measured row comes back
// as measured. As r knows what measuring did and serving does not (weights or
// KV kept in L2, 64-token pages, an idle card's clock), so does the answer. The
// idea is AIConfigurator's, with the bare roofline as r. Median error in
// percent on held-out halves of its bf16 tables, H100, A100, L40S, RTX PRO 6000
// (with that roofline):
//   GEMM 2.8, 3.7, 3.9, 2.4 (2.9, 4.2, 4.2, 2.6); of unseen
//   weights 3.0, 4.0, 5.1, 3.8 (3.7, 4.7, 5.9, 4.9); decode 1.5, 1.2, 1.2, 1.4
//   (2.8, 4.7, 2.5, 2.8); prefill 2.4, 1.6, 1.8, 1.2 (3.7, 2.3, 3.4, 2.6).
// Leaves out: prefill on top of history (r alone is nearer) and prefill with
// decodes in one kernel.
#include "kernels/cost/kernel_table.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/check.hpp"

namespace tessera {
namespace {

constexpr double kDecodeStretch = 2;  // of heads and sequences, which decide splits, against tokens

double log2_of(std::int64_t x) { return std::log2(static_cast<double>(x)); }

// fp16 runs the bf16 kernels.
DType measured_as(DType type) { return type == DType::fp16 ? DType::bf16 : type; }

Gpu idle(Gpu gpu) {
  gpu.kernels->sustained_clock_fraction = 1;
  return gpu;
}

MeasuredRows::Point point(std::int64_t m, std::int64_t n, std::int64_t k) {
  return {log2_of(m), log2_of(n), log2_of(k), 0};
}
MeasuredRows::Point prefill_point(const AttentionShape& s, std::int64_t sequences, double tokens) {
  return {log2_of(s.q_heads), log2_of(s.kv_heads), log2_of(sequences), std::log2(tokens)};
}
MeasuredRows::Point decode_point(const AttentionShape& s, std::int64_t sequences, double tokens) {
  MeasuredRows::Point at = prefill_point(s, sequences, tokens);
  for (std::size_t d = 0; d < 3; ++d) at[d] *= kDecodeStretch;
  return at;
}

AttentionShape as_measured(AttentionShape shape) {
  TESSERA_CHECK(shape.head_dim == shape.v_head_dim, "measured layers have K and V of one size");
  shape.block_tokens = KernelTable::kBlockTokens;
  shape.replayed = true;
  return shape;
}

DecodeBatch equal_contexts(std::int64_t sequences, std::int64_t kv_tokens) {
  DecodeBatch batch;
  batch.sequences = sequences;
  batch.kv_tokens = sequences * kv_tokens;
  return batch;
}

double kv_bytes(const AttentionShape& s, double sequences, double tokens) {
  const double seen = s.window > 0 ? std::min(tokens, static_cast<double>(s.window)) : tokens;
  return sequences * seen * s.kv_heads * (s.head_dim + s.v_head_dim) * bytes_of(s.kv_dtype);
}

// The reference's terms, at the measured utilisation, never faster than
// physics.
OpTime at_utilisation(OpTime time, double log_utilisation, double floor_us, bool in_range) {
  time.total = std::max(time.total / std::exp(log_utilisation), floor_us);
  time.in_range = in_range;
  return time;
}

}  // namespace

KernelTable::AttentionKey KernelTable::key_of(const AttentionShape& shape) {
  return {shape.head_dim, shape.window, measured_as(shape.kv_dtype)};
}

void KernelTable::add_gemm(DType dtype, std::int64_t m, std::int64_t n, std::int64_t k, double us) {
  TESSERA_CHECK(!finished_ && m > 0 && n > 0 && k > 0 && us > 0, "a measured GEMM has a shape and a time");
  gemms_.push_back({measured_as(dtype), m, n, k, us});
}

void KernelTable::add_decode(const AttentionShape& shape, std::int64_t sequences, std::int64_t kv_tokens,
                             double us) {
  TESSERA_CHECK(!finished_ && sequences > 0 && kv_tokens > 0 && us > 0,
                "a measured decode has a batch and a time");
  decodes_.push_back({as_measured(shape), sequences, kv_tokens, us});
}

void KernelTable::add_prefill(const AttentionShape& shape, std::int64_t sequences, std::int64_t tokens,
                              double us) {
  TESSERA_CHECK(!finished_ && sequences > 0 && tokens > 0 && us > 0,
                "a measured prefill has a batch and a time");
  prefills_.push_back({as_measured(shape), sequences, tokens, us});
}

void KernelTable::finish(const Gpu& measured_on) {
  TESSERA_CHECK(!finished_, "a table is finished once");
  finished_ = true;
  attention_kernel_ = measured_on.kernels->attention.kernel;
  const Gpu gpu = idle(measured_on);
  for (const GemmRow& row : gemms_) {
    GemmRows& of = gemm_[row.dtype];
    const GemmShape shape{row.m, row.n, row.k, row.dtype, kWeightCopies};
    of.rows.add(point(row.m, row.n, row.k), std::log(gemm_time(gpu, shape).total / row.us));
    of.range.add({row.m, row.n, row.k});
  }
  const double cold_bytes = kColdFactor * static_cast<double>(gpu.l2_bytes.value);
  for (const AttentionRow& row : decodes_) {
    AttentionRows& of = decode_[key_of(row.shape)];
    const OpTime reference = decode_attention_time(gpu, row.shape, equal_contexts(row.sequences, row.tokens));
    const auto tokens = static_cast<double>(row.tokens);
    const MeasuredRows::Point at = decode_point(row.shape, row.sequences, tokens);
    const double log_utilisation = std::log(reference.total / row.us);
    of.rows.add(at, log_utilisation);
    of.range[{row.shape.q_heads, row.shape.kv_heads}].add({row.sequences, row.tokens, 0});
    if (kv_bytes(row.shape, static_cast<double>(row.sequences), tokens) >= cold_bytes)
      of.cold.add(at, log_utilisation);
  }
  std::vector<PrefillChunk> chunks;
  for (const AttentionRow& row : prefills_) {
    AttentionRows& of = prefill_[key_of(row.shape)];
    chunks.assign(static_cast<std::size_t>(row.sequences), {row.tokens, 0});
    const OpTime reference = prefill_attention_time(gpu, row.shape, chunks);
    of.rows.add(prefill_point(row.shape, row.sequences, static_cast<double>(row.tokens)),
                std::log(reference.total / row.us));
    of.range[{row.shape.q_heads, row.shape.kv_heads}].add({row.sequences, row.tokens, 0});
  }
  finish_curves(gpu);
  for (auto& [dtype, of] : gemm_) of.rows.finish();
  for (auto* kind : {&decode_, &prefill_})
    for (auto& [key, of] : *kind) of.rows.finish(), of.cold.finish();
}

std::optional<OpTime> KernelTable::gemm(const Gpu& gpu, const GemmShape& shape) const {
  TESSERA_CHECK(finished_, "a table is finished before it is asked");
  const auto of = gemm_.find(measured_as(shape.dtype));
  if (of == gemm_.end()) return std::nullopt;
  const bool inside = of->second.range.contains({shape.m, shape.n, shape.k});
  const double u = of->second.rows.log_utilisation(point(shape.m, shape.n, shape.k), inside);
  return at_utilisation(gemm_time(gpu, shape), u, gemm_floor_us(gpu, shape), inside);
}

std::optional<OpTime> KernelTable::decode(const Gpu& gpu, const AttentionShape& shape,
                                          const DecodeBatch& decodes) const {
  TESSERA_CHECK(finished_, "a table is finished before it is asked");
  const auto of = decode_.find(key_of(shape));
  if (decodes.sequences == 0 || of == decode_.end() || shape.head_dim != shape.v_head_dim ||
      gpu.kernels->attention.kernel != attention_kernel_)
    return std::nullopt;
  const auto sequences = static_cast<double>(decodes.sequences);
  const double mean = static_cast<double>(decodes.kv_tokens) / sequences;
  if (!shape.replayed &&
      kv_bytes(shape, sequences, mean) < kColdFactor * static_cast<double>(gpu.l2_bytes.value))
    return std::nullopt;
  const MeasuredRows& rows = shape.replayed ? of->second.rows : of->second.cold;
  const auto range = of->second.range.find({shape.q_heads, shape.kv_heads});
  if (range == of->second.range.end() || rows.empty()) return std::nullopt;
  const bool inside = range->second.contains({decodes.sequences, std::llround(mean), 0});
  const double u = rows.log_utilisation(decode_point(shape, decodes.sequences, mean), inside);
  return at_utilisation(decode_attention_time(gpu, shape, decodes), u,
                        decode_attention_floor_us(gpu, shape, decodes), inside);
}

std::optional<OpTime> KernelTable::prefill(const Gpu& gpu, const AttentionShape& shape,
                                           std::span<const PrefillChunk> chunks) const {
  TESSERA_CHECK(finished_, "a table is finished before it is asked");
  const auto of = prefill_.find(key_of(shape));
  if (chunks.empty() || of == prefill_.end() || shape.head_dim != shape.v_head_dim ||
      gpu.kernels->attention.kernel != attention_kernel_)
    return std::nullopt;
  const auto range = of->second.range.find({shape.q_heads, shape.kv_heads});
  if (range == of->second.range.end()) return std::nullopt;
  std::int64_t tokens = 0;
  for (const PrefillChunk& chunk : chunks) {
    if (chunk.history > 0) return std::nullopt;
    tokens += chunk.tokens;
  }
  const auto sequences = static_cast<std::int64_t>(chunks.size());
  const double mean = static_cast<double>(tokens) / static_cast<double>(sequences);
  const bool inside = range->second.contains({sequences, std::llround(mean), 0});
  const double u = of->second.rows.log_utilisation(prefill_point(shape, sequences, mean), inside);
  return at_utilisation(prefill_attention_time(gpu, shape, chunks), u,
                        prefill_attention_floor_us(gpu, shape, chunks), inside);
}

}  // namespace tessera
