// Laws of the attention closed forms over random shapes on every card described.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/mla.hpp"
#include "tests/support/shipped_gpus.hpp"

namespace tessera {
namespace {

using test::all_gpus;

AttentionShape random_shape() {
  AttentionShape s;
  s.kv_heads = *rc::gen::element(1, 2, 4, 8, 16);
  s.q_heads = s.kv_heads * *rc::gen::element(1, 2, 4, 8, 12);
  s.head_dim = s.v_head_dim = *rc::gen::element(64, 96, 128, 192, 256);
  s.window = *rc::gen::element<std::int64_t>(0, 0, 128, 4096);
  s.kv_dtype = *rc::gen::element(DType::bf16, DType::fp8);
  s.block_tokens = *rc::gen::element(16, 32, 64);
  s.replayed = *rc::gen::arbitrary<bool>();
  return s;
}

struct Batch {
  std::vector<std::int32_t> lengths;
  [[nodiscard]] DecodeBatch view() const {
    return {static_cast<std::int64_t>(lengths.size()),
            std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}), lengths, 0};
  }
};
Batch random_batch() {
  Batch b;
  b.lengths.resize(static_cast<std::size_t>(*rc::gen::inRange(1, 300)));
  const int most = *rc::gen::element(10, 300, 5000, 60000);
  for (auto& length : b.lengths) length = *rc::gen::inRange(1, most);
  std::sort(b.lengths.rbegin(), b.lengths.rend());
  return b;
}
std::vector<PrefillChunk> random_chunks() {
  std::vector<PrefillChunk> chunks(static_cast<std::size_t>(*rc::gen::inRange(1, 6)));
  for (auto& c : chunks)
    c = {*rc::gen::inRange<std::int64_t>(1, 4000), *rc::gen::element<std::int64_t>(0, 0, 77, 20000)};
  return chunks;
}

// The floor from first principles: every visible (query, key) pair costs 2 (dk + dv) FLOPs a head at the
// maximum clock's peak; every visible key and value and every query and output crosses the pins once, less
// what L2 can hold from the replay before.
struct Work {
  double pairs = 0, keys = 0, queries = 0;
};
void add_sequence(Work& w, std::int64_t queries, std::int64_t history, std::int64_t window) {
  std::int64_t first = history + queries;
  for (std::int64_t q = 0; q < queries; ++q) {
    const std::int64_t to = history + q, from = window > 0 ? std::max<std::int64_t>(0, to - window + 1) : 0;
    w.pairs += static_cast<double>(to - from + 1);
    first = std::min(first, from);
  }
  w.keys += static_cast<double>(history + queries - first);
  w.queries += static_cast<double>(queries);
}
double floor_us(const Gpu& gpu, const AttentionShape& s, const Work& w) {
  const double wide = s.head_dim + s.v_head_dim;
  const bool fp8 =
      s.kv_dtype == DType::fp8 && gpu.kernels->attention.kernel == "fa3" && gpu.fp8_flops_per_clk_sm > 0;
  const double peak_per_us = static_cast<double>(gpu.sms.value) * gpu.max_clock_mhz *
                             (fp8 ? gpu.fp8_flops_per_clk_sm : gpu.bf16_flops_per_clk_sm);
  double bytes = wide * (w.keys * s.kv_heads * bytes_of(s.kv_dtype) + w.queries * s.q_heads * 2);
  if (s.replayed) bytes = std::max(0.0, bytes - static_cast<double>(gpu.l2_bytes.value));
  return std::max(2 * s.q_heads * wide * w.pairs / peak_per_us, bytes / (gpu.hbm_gb_s * 1e3));
}

constexpr double kExact = 1 - 1e-9;

TEST(AttentionProperty, NoPredictionBeatsPhysicsOnAnyCard) {
  ASSERT_GE(all_gpus().size(), 5u);
  EXPECT_TRUE(rc::check("decode, prefill and mixed batches", [] {
    const AttentionShape s = random_shape();
    const Batch batch = random_batch();
    const std::vector<PrefillChunk> chunks = random_chunks();
    Work decode, prefill;
    for (const auto length : batch.lengths) add_sequence(decode, 1, length - 1, s.window);
    for (const auto& c : chunks) add_sequence(prefill, c.tokens, c.history, s.window);
    Work both = decode;
    both.pairs += prefill.pairs, both.keys += prefill.keys, both.queries += prefill.queries;
    for (const Gpu& gpu : all_gpus()) {
      // The batch is known by its longest sequences; under a window the others' visible keys are a mean's.
      const double slack = s.window > 0 ? 0.5 : 1;
      RC_ASSERT(decode_attention_time(gpu, s, batch.view()).total >=
                slack * kExact * floor_us(gpu, s, decode));
      RC_ASSERT(prefill_attention_time(gpu, s, chunks).total >= kExact * floor_us(gpu, s, prefill));
      RC_ASSERT(mixed_attention_time(gpu, s, batch.view(), chunks).total >=
                slack * kExact * floor_us(gpu, s, both));
    }
  }));
}

TEST(AttentionProperty, TheModelItselfStaysAboveTheFloorOnCalibratedCards) {
  // Not by the final comparison with the floor: the terms leave it room for any work of size.
  EXPECT_TRUE(rc::check("calibrated cards", [] {
    AttentionShape s = random_shape();
    s.kv_dtype = DType::bf16;
    const std::int64_t n = *rc::gen::inRange<std::int64_t>(1, 400),
                       context = *rc::gen::inRange<std::int64_t>(1, 20000);
    const DecodeBatch batch{n, n * context, {}, 0};
    const std::vector<PrefillChunk> chunks = random_chunks();
    for (const Gpu& gpu : all_gpus()) {
      if (gpu.status != "calibrated") continue;
      RC_ASSERT(decode_attention_time(gpu, s, batch).total >
                1.001 * decode_attention_floor_us(gpu, s, batch));
      RC_ASSERT(prefill_attention_time(gpu, s, chunks).total >
                1.001 * prefill_attention_floor_us(gpu, s, chunks));
    }
  }));
}

TEST(AttentionProperty, LatentAttentionStaysAboveItsFloor) {
  EXPECT_TRUE(rc::check("mla and its indexer", [] {
    const bool indexer = *rc::gen::arbitrary<bool>();
    MlaShape s;
    s.heads = *rc::gen::element(1, 8, 16, 64, 128);
    if (indexer) s.qk_dim = 128, s.v_dim = 0, s.record_bytes = 132;
    s.replayed = *rc::gen::arbitrary<bool>();
    const Batch batch = random_batch();
    MlaShape expanded = s;
    expanded.qk_dim = 192, expanded.v_dim = 128;
    const std::vector<PrefillChunk> chunks = random_chunks();
    double tokens = 0, pairs = 0;
    for (const auto length : batch.lengths) tokens += length;
    for (const auto& c : chunks)
      for (std::int64_t q = 0; q < c.tokens; ++q) pairs += static_cast<double>(c.history + q + 1);
    for (const Gpu& gpu : all_gpus()) {
      const double peak_per_us =
          static_cast<double>(gpu.sms.value) * gpu.max_clock_mhz * gpu.bf16_flops_per_clk_sm;
      const double time = mla_decode_time(gpu, s, batch.view()).total;
      RC_ASSERT(time >= kExact * 2 * s.heads * (s.qk_dim + s.v_dim) * tokens / peak_per_us);
      if (!s.replayed) RC_ASSERT(time >= kExact * tokens * s.record_bytes / (gpu.hbm_gb_s * 1e3));
      RC_ASSERT(mla_prefill_time(gpu, expanded, chunks).total >=
                kExact * 2 * s.heads * 320 * pairs / peak_per_us);
    }
  }));
}

TEST(AttentionProperty, MoreContextIsNeverFasterBeyondAWave) {
  // Doubling every context at least keeps the time: a wave more or less cannot hide it.
  EXPECT_TRUE(rc::check("monotone in context", [] {
    AttentionShape s = random_shape();
    s.window = 0, s.replayed = false;
    const auto n = *rc::gen::inRange<std::int64_t>(1, 300),
               context = *rc::gen::inRange<std::int64_t>(1, 30000);
    for (const Gpu& gpu : all_gpus())
      RC_ASSERT(decode_attention_time(gpu, s, {n, 2 * n * context, {}, 0}).total >=
                0.98 * decode_attention_time(gpu, s, {n, n * context, {}, 0}).total);
  }));
}

TEST(AttentionProperty, FasterMemoryIsNeverSlower) {
  EXPECT_TRUE(rc::check("monotone in bandwidth", [] {
    AttentionShape s = random_shape();
    s.replayed = false;
    const Batch batch = random_batch();
    const std::vector<PrefillChunk> chunks = random_chunks();
    for (const Gpu& gpu : all_gpus()) {
      Gpu faster = gpu;
      faster.hbm_gb_s.value *= 1.5;
      RC_ASSERT(decode_attention_time(faster, s, batch.view()).total <=
                decode_attention_time(gpu, s, batch.view()).total + 1e-9);
      RC_ASSERT(mixed_attention_time(faster, s, batch.view(), chunks).total <=
                mixed_attention_time(gpu, s, batch.view(), chunks).total + 1e-9);
    }
  }));
}

}  // namespace
}  // namespace tessera
