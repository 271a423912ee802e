#include "kernels/cost/attention_machine.hpp"

#include <algorithm>

namespace tessera {
namespace {

constexpr double kCopyShare = 0.6;    // a copy kernel's gap against the combine kernel's
constexpr int kCombineCtasPerSm = 8;  // 128 threads each, resident together
constexpr int kWriteThreads = 512;    // most threads of a KV-write CTA

const AttentionRates& rates_of(const Gpu& gpu, DType kv_dtype) {
  const AttentionParams& params = gpu.kernels->attention;
  return params.fp8 && bytes_of(kv_dtype) == 1 ? *params.fp8 : params.rates;
}

}  // namespace

AttentionMachine::AttentionMachine(const Gpu& card, const AttentionShape& layer, double footprint_bytes)
    : gpu(card), shape(layer), rates(rates_of(card, layer.kv_dtype)) {
  sms = static_cast<double>(gpu.sms.value);
  bytes = bytes_of(shape.dtype);
  kv_bytes = bytes_of(shape.kv_dtype);
  // FlashAttention-3 quantises Q too when the cache is fp8; FlashAttention-2 has no such kernel.
  fp8_compute = gpu.kernels->attention.kernel == "fa3" && kv_bytes == 1 && gpu.fp8_flops_per_clk_sm > 0;
  const double rated_clock_mhz = gpu.datasheet_bf16_tflops * 1e6 / (gpu.bf16_flops_per_clk_sm * sms);
  flops_per_us = rated_clock_mhz * (fp8_compute ? gpu.fp8_flops_per_clk_sm : gpu.bf16_flops_per_clk_sm);
  exps_per_us = rated_clock_mhz * gpu.exp_per_clk_sm;
  latency_us = gpu.dram_latency_ns * 1e-3;
  hbm_us_per_byte = 1 / (rates.hbm_fraction * gpu.hbm_bytes_per_us());
  hit = shape.replayed ? reuse_hit(footprint_bytes) : 0;
  l2_us_per_byte = 1 / (rates.l2_gb_s * 1e3);
  us_per_byte = bytes_us(hit);
}

double AttentionMachine::reuse_hit(double distance_bytes) const {
  const double x = distance_bytes / (rates.l2_share * static_cast<double>(gpu.l2_bytes.value));
  const double x2 = x * x, x4 = x2 * x2;
  return 1 / (1 + x4 * x4 * x2);
}

double AttentionMachine::transpose_us(TileShape t) const {
  if (!fp8_compute) return 0;
  const double per_tile = shape.head_dim > 192   ? rates.transpose_d256_us
                          : shape.head_dim > 128 ? rates.transpose_d192_us
                                                 : rates.transpose_us;
  return per_tile * t.n * shape.v_head_dim / (160.0 * 128.0);
}

double AttentionMachine::kv_write_us(double tokens) const {
  const double width = static_cast<double>(shape.kv_heads) * shape.head_dim;
  const double threads = std::min<double>(width, kWriteThreads);
  const double resident =
      std::max(1.0, std::floor(static_cast<double>(gpu.max_threads_per_sm.value) / threads));
  const double waves = std::ceil(tokens / (sms * resident));
  const double moved = tokens * shape.kv_heads * (shape.head_dim + shape.v_head_dim) * (bytes + kv_bytes);
  return overlap_tightly(waves * rates.kv_write_us, moved * us_per_byte);
}

double AttentionMachine::copies_us(std::int64_t sequences, int splits) const {
  const bool many = shape.kv_heads > 1 && sequences > 1;
  const int kernels = 1 + (many ? 1 + (splits == 1 ? 1 : 0) : 0);
  const double moved =
      (many ? 4.0 : 2.0) * static_cast<double>(sequences) * shape.q_heads * shape.head_dim * bytes;
  return kernels * kCopyShare * rates.combine_us + moved * us_per_byte;
}

double AttentionMachine::combine_us(double rows, double splits, int rows_per_cta) const {
  const double waves = std::ceil(rows / (rows_per_cta * sms * kCombineCtasPerSm));
  return rates.combine_us + rates.combine_per_split_us * waves * (splits + 2) +
         2 * partial_bytes(rows, splits) * l2_us_per_byte;
}

double AttentionMachine::paging() const {
  const double factor = gpu.kernels->attention.paging_factor;
  if (shape.block_tokens >= 64) return 1;
  if (shape.block_tokens <= 16) return factor;
  return 1 + (factor - 1) * std::log2(64.0 / shape.block_tokens) / 2;
}

}  // namespace tessera
