#include "models/transformer/kv_entry.hpp"

#include <fmt/format.h>

#include "models/base/error.hpp"
#include "models/base/units.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kFp8ScaleGroup = 128;  // values that share one fp32 scale in FlashMLA's record
constexpr std::int64_t kScaleBytes = 4;

std::int64_t element_bytes(DType type) { return static_cast<std::int64_t>(bytes_of(type)); }

KvPart part(const KvPrecision& p, const KvScheme& scheme, std::int64_t heads, std::int64_t width) {
  return {scheme.bytes(heads, width), heads * width * element_bytes(p.base), p.native ? 0 : heads * width,
          scheme};
}

KvEntry fixed(std::int64_t bytes, std::string formula) {
  return {{{bytes, bytes, 0, {}}}, std::move(formula)};
}

}  // namespace

std::int64_t KvEntry::bytes() const {
  std::int64_t sum = 0;
  for (const KvPart& one : parts) sum += one.bytes;
  return sum;
}

std::int64_t kv_heads_on_rank(std::int64_t kv_heads, std::int64_t tp) {
  if (kv_heads % tp == 0) return kv_heads / tp;
  if (tp % kv_heads == 0) return 1;
  throw InputError(
      fmt::format("tp = {} and {} key/value heads: expected one to divide the other, so that heads are "
                  "split or replicated evenly",
                  tp, kv_heads));
}

KvEntry grouped_entry(const Layer& layer, const KvPrecision& p, std::int64_t tp) {
  const std::int64_t heads = kv_heads_on_rank(layer.kv_heads, tp);
  KvEntry entry;
  if (layer.one_tensor) {
    entry.parts = {part(p, p.k, heads, layer.head_dim)};
    entry.formula = "1 tensor x " + p.k.formula(heads, layer.head_dim);
  } else if (layer.half_tied) {
    entry.parts = {part(p, p.v, heads, layer.head_dim), part(p, p.k, 1, layer.head_dim / 2)};
    entry.formula = p.v.formula(heads, layer.head_dim) + " + rotary " + p.k.formula(1, layer.head_dim / 2);
  } else {
    entry.parts = {part(p, p.k, heads, layer.head_dim), part(p, p.v, heads, layer.v_head_dim)};
    const std::string k = p.k.formula(heads, layer.head_dim), v = p.v.formula(heads, layer.v_head_dim);
    if (k == v)
      entry.formula = "2 x " + k;
    else if (p.k.group == 0 && p.v.group == 0)
      entry.formula =
          fmt::format("{} heads x ({} + {}) x {} B", heads, layer.head_dim, layer.v_head_dim, p.k.bits / 8);
    else
      entry.formula = fmt::format("K {} + V {}", k, v);
  }
  return entry;
}

KvEntry latent_entry(const MlaSpec& mla, const KvPrecision& p, std::int64_t tp) {
  const std::int64_t rank = mla.kv_lora_rank / mla.latent_heads * kv_heads_on_rank(mla.latent_heads, tp);
  if (p.fp8()) {
    const std::int64_t scales = ceil_div(rank, kFp8ScaleGroup);
    return fixed(
        rank + scales * kScaleBytes + mla.rope_dim * 2,
        fmt::format("{} x 1 B + {} scales x {} B + {} x 2 B", rank, scales, kScaleBytes, mla.rope_dim));
  }
  if (p.native) {
    const std::int64_t b = p.k.bits / 8;
    return fixed((rank + mla.rope_dim) * b, fmt::format("({} + {}) x {} B", rank, mla.rope_dim, b));
  }
  const std::int64_t b = element_bytes(p.base);
  KvEntry entry;
  entry.parts = {part(p, p.k, 1, rank), {mla.rope_dim * b, mla.rope_dim * b, 0, {}}};
  entry.formula = fmt::format("{} + {} x {} B", p.k.formula(1, rank), mla.rope_dim, b);
  return entry;
}

KvEntry index_entry(const IndexerSpec& indexer, const KvPrecision& p) {
  if (p.fp8())
    return fixed(indexer.dim + kScaleBytes,
                 fmt::format("{} x 1 B + 1 scale x {} B", indexer.dim, kScaleBytes));
  if (p.native) {
    const std::int64_t b = p.k.bits / 8;
    return fixed(indexer.dim * b, fmt::format("{} x {} B", indexer.dim, b));
  }
  KvScheme scheme = p.v;
  scheme.residual = 0;
  KvEntry entry = fixed(scheme.bytes(1, indexer.dim), scheme.formula(1, indexer.dim));
  entry.parts.front().numbers = indexer.dim;
  return entry;
}

KvEntry magnitude_entry(const Layer& layer, DType dtype, std::int64_t tp) {
  const std::int64_t heads = kv_heads_on_rank(layer.kv_heads, tp);
  return fixed(2 * heads * element_bytes(dtype),
               fmt::format("2 magnitudes x {} heads x {} B", heads, element_bytes(dtype)));
}

KvEntry recurrent_state(const Model& model, std::int64_t tp) {
  const RecurrentSpec& r = *model.recurrent;
  if (r.heads % tp != 0)
    throw InputError(fmt::format("{}: tp = {} does not divide the {} state heads", model.name, tp, r.heads));
  const std::int64_t heads = r.heads / tp;
  const std::int64_t groups = r.groups == 0 ? 0 : kv_heads_on_rank(r.groups, tp);
  const std::int64_t conv_bytes = element_bytes(model.precision.activations());
  const std::int64_t b = r.state_dtype == "auto" ? conv_bytes : element_bytes(parse_dtype(r.state_dtype));
  const std::int64_t channels = heads * r.head_dim + 2 * groups * r.state;
  return fixed(heads * r.head_dim * r.state * b + (r.conv_kernel - 1) * channels * conv_bytes,
               fmt::format("{} heads x {} x {} x {} B + ({} - 1) x {} channels x {} B", heads, r.head_dim,
                           r.state, b, r.conv_kernel, channels, conv_bytes));
}

KvEntry memory_state(const Layer& layer, DType dtype, std::int64_t tp) {
  const std::int64_t heads = kv_heads_on_rank(layer.kv_heads, tp);
  const std::int64_t b = element_bytes(dtype);
  return fixed(heads * layer.head_dim * (layer.v_head_dim + 1) * b,
               fmt::format("{} heads x {} x ({} + 1) x {} B", heads, layer.head_dim, layer.v_head_dim, b));
}

}  // namespace tessera
