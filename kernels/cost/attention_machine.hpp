// What the attention closed forms know of one card for one layer shape: rates per SM and per byte.
//
// t_tile = cm 2 M N (dk + dv) / tensor rate + ce M N / exponential rate [+ tlat + tile bytes / bsm]
// at the rated clock, the one behind the datasheet's TFLOP/s. Bytes cost
//   ib = (1 - h) / (fH HBM) + h / BWL2,   h = 1 / (1 + (footprint / (a L2))^10)
// where h is the hit rate of a replay over the same buffers (0 in serving: weights flush L2).
// Source: fits to public kernel tables, see AttentionParams::source. Left out: DRAM row locality.
#pragma once

#include <cmath>

#include "kernels/cost/attention.hpp"
#include "kernels/tiles/attention_tiles.hpp"

namespace tessera {

struct AttentionMachine {
  AttentionMachine(const Gpu& card, const AttentionShape& layer, double footprint_bytes);

  [[nodiscard]] double mma_us(TileShape t) const {
    return rates.mma_factor * 2.0 * t.m * t.n * (shape.head_dim + shape.v_head_dim) / flops_per_us;
  }
  [[nodiscard]] double exp_us(TileShape t) const { return rates.exp_factor * t.m * t.n / exps_per_us; }
  [[nodiscard]] double load_us(TileShape t) const {
    return latency_us + t.n * kv_token_bytes() / (rates.cta_gb_s * 1e3);
  }
  [[nodiscard]] double cta_us() const { return rates.cta_us * (0.6 + 0.4 * shape.head_dim / 128.0); }
  // fp8 values arrive row-major but the MMA wants them transposed: done in shared memory, tile by tile.
  [[nodiscard]] double transpose_us(TileShape t) const;

  // K and V of one token, one KV head.
  [[nodiscard]] double kv_token_bytes() const { return (shape.head_dim + shape.v_head_dim) * kv_bytes; }

  // Chance that bytes touched again after `distance_bytes` of others are still in L2.
  [[nodiscard]] double reuse_hit(double distance_bytes) const;
  // Time per byte of which the share `hit_rate` comes from L2.
  [[nodiscard]] double bytes_us(double hit_rate) const {
    return (1 - hit_rate) * hbm_us_per_byte + hit_rate * l2_us_per_byte;
  }

  // The kernel before: one CTA a token, limited by resident threads long before by bytes when heads are few.
  [[nodiscard]] double kv_write_us(double tokens) const;
  // FA2 decode with packed heads re-lays Q out, then O and LSE: one to three small kernels.
  [[nodiscard]] double copies_us(std::int64_t sequences, int splits) const;
  // The kernel after: sums `splits` partial outputs of `rows` rows.
  [[nodiscard]] double combine_us(double rows, double splits, int rows_per_cta) const;
  // Reading the partials back and writing them, at L2 speed.
  [[nodiscard]] double partial_bytes(double rows, double splits) const {
    return splits > 1 ? rows * splits * (shape.v_head_dim + 1) * 4.0 : 0.0;
  }
  // Decode gathers from pages; the tables were measured with 64-token pages.
  [[nodiscard]] double paging() const;

  const Gpu& gpu;
  const AttentionShape& shape;
  const AttentionRates& rates;
  double sms;
  double bytes;         // of one element of Q and O
  double kv_bytes;      // of one element of K and V
  double flops_per_us;  // one SM at the rated clock
  double exps_per_us;
  double latency_us;   // of DRAM
  double hit;          // h
  double us_per_byte;  // ib
  double hbm_us_per_byte;
  double l2_us_per_byte;
  bool fp8_compute;
};

// (a^3 + b^3)^(1/3) and (a^4 + b^4)^(1/4): partly overlapped demands on two resources.
inline double overlap(double a, double b) { return std::cbrt(a * a * a + b * b * b); }
inline double overlap_tightly(double a, double b) {
  const double a2 = a * a, b2 = b * b;
  return std::sqrt(std::sqrt(a2 * a2 + b2 * b2));
}

}  // namespace tessera
