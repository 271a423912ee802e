// Chooses the library's kernel and holds every prediction to the physics floor.
#include "kernels/cost/attention.hpp"

#include "kernels/cost/attention_kernels.hpp"
#include "kernels/cost/attention_lengths.hpp"
#include "models/base/check.hpp"

namespace tessera {
namespace {

bool is_fa3(const Gpu& gpu) { return gpu.kernels->attention.kernel == "fa3"; }

// fp8 K and V on a card without rates for them: predicted with the 16-bit rates, and said so.
bool calibrated(const Gpu& gpu, const AttentionShape& shape) {
  const bool wide = bytes_of(shape.kv_dtype) == 2;
  return (wide || (bytes_of(shape.kv_dtype) == 1 && gpu.kernels->attention.fp8.has_value())) &&
         shape.head_dim >= 64 && shape.head_dim <= 256;
}

OpTime bounded(OpTime time, double floor_us, bool in_range) {
  time.total = std::max(time.total, floor_us);
  time.in_range = in_range;
  return time;
}

void check_shape(const AttentionShape& shape) {
  TESSERA_CHECK(shape.q_heads > 0 && shape.kv_heads > 0 && shape.q_heads % shape.kv_heads == 0,
                "query heads come in whole groups per KV head");
}

// Bytes that must cross the pins: what a replay could at best keep in L2 is taken off.
double pin_bytes(const Gpu& gpu, const AttentionShape& shape, double bytes) {
  return shape.replayed ? std::max(0.0, bytes - static_cast<double>(gpu.l2_bytes.value)) : bytes;
}

double peak(const Gpu& gpu, const AttentionShape& shape) {
  return gpu.peak_flops(is_fa3(gpu) && bytes_of(shape.kv_dtype) == 1 && gpu.fp8_flops_per_clk_sm > 0
                            ? DType::fp8
                            : shape.dtype);
}

struct Demand {
  double flops = 0;
  double kv_bytes = 0;
  double io_bytes = 0;
};

Demand decode_demand(const AttentionShape& shape, const DecodeBatch& decodes) {
  if (decodes.sequences == 0) return {};
  const ContextLengths lengths(decodes, shape.window);
  const double wide = shape.head_dim + shape.v_head_dim;
  return {2.0 * shape.q_heads * wide * lengths.visible(),
          lengths.visible() * shape.kv_heads * wide * bytes_of(shape.kv_dtype),
          static_cast<double>(decodes.sequences) * shape.q_heads * wide * bytes_of(shape.dtype)};
}

Demand prefill_demand(const AttentionShape& shape, std::span<const PrefillChunk> chunks) {
  Demand sum;
  const double wide = shape.head_dim + shape.v_head_dim;
  for (const PrefillChunk& chunk : chunks) {
    const auto s = static_cast<double>(chunk.tokens), h = static_cast<double>(chunk.history);
    double visible = s * h + s * (s + 1) / 2;  // query i sees h + i + 1 keys
    double keys = s + h;
    if (shape.window > 0) {
      const auto w = static_cast<double>(shape.window);
      const double growing = std::clamp(w - h, 0.0, s);  // queries that still see every key
      visible = growing * h + growing * (growing + 1) / 2 + (s - growing) * w;
      keys = s + std::min(h, w - 1);
    }
    sum.flops += 2.0 * shape.q_heads * wide * visible;
    sum.kv_bytes += keys * shape.kv_heads * wide * bytes_of(shape.kv_dtype);
    sum.io_bytes += s * shape.q_heads * wide * bytes_of(shape.dtype);
  }
  return sum;
}

double floor_of(const Gpu& gpu, const AttentionShape& shape, const Demand& a, const Demand& b = {}) {
  const double bytes = a.kv_bytes + a.io_bytes + b.kv_bytes + b.io_bytes;
  return physics_floor_us(a.flops + b.flops, peak(gpu, shape), pin_bytes(gpu, shape, bytes),
                          gpu.hbm_bytes_per_us());
}

}  // namespace

OpTime decode_attention_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes) {
  if (decodes.sequences == 0) return {};
  check_shape(shape);
  TESSERA_CHECK(decodes.kv_tokens >= decodes.sequences, "a context length counts the token being decoded");
  const OpTime time =
      is_fa3(gpu) ? fa3::decode_time(gpu, shape, decodes) : fa2::decode_time(gpu, shape, decodes);
  return bounded(time, decode_attention_floor_us(gpu, shape, decodes), calibrated(gpu, shape));
}

OpTime prefill_attention_time(const Gpu& gpu, const AttentionShape& shape,
                              std::span<const PrefillChunk> chunks) {
  if (chunks.empty()) return {};
  check_shape(shape);
  const OpTime time =
      is_fa3(gpu) ? fa3::mixed_time(gpu, shape, {}, chunks) : fa2::mixed_time(gpu, shape, {}, chunks);
  return bounded(time, prefill_attention_floor_us(gpu, shape, chunks), calibrated(gpu, shape));
}

OpTime mixed_attention_time(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes,
                            std::span<const PrefillChunk> chunks) {
  if (chunks.empty()) return decode_attention_time(gpu, shape, decodes);
  if (decodes.sequences == 0) return prefill_attention_time(gpu, shape, chunks);
  check_shape(shape);
  const OpTime time = is_fa3(gpu) ? fa3::mixed_time(gpu, shape, decodes, chunks)
                                  : fa2::mixed_time(gpu, shape, decodes, chunks);
  const double floor_us = floor_of(gpu, shape, decode_demand(shape, decodes), prefill_demand(shape, chunks));
  return bounded(time, floor_us, calibrated(gpu, shape));
}

double decode_attention_floor_us(const Gpu& gpu, const AttentionShape& shape, const DecodeBatch& decodes) {
  return floor_of(gpu, shape, decode_demand(shape, decodes));
}

double prefill_attention_floor_us(const Gpu& gpu, const AttentionShape& shape,
                                  std::span<const PrefillChunk> chunks) {
  return floor_of(gpu, shape, prefill_demand(shape, chunks));
}

}  // namespace tessera
