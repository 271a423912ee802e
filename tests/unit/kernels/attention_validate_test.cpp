// Reading the attention tables and fitting to them, on tables made from known parameters.
#include "validation/attention_validate.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cost/attention.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

constexpr const char* kHeader =
    "kernel_source,batch_size,isl_tokens,num_heads,num_key_value_heads,head_dim,attn_dtype,kv_cache_dtype,"
    "past_kv_tokens,window_size_tokens,latency_ms,flag\n";

Gpu card(const char* kernel) {
  Gpu g = paper_gpu();
  g.exp_per_clk_sm.value = 10;
  g.max_threads_per_sm.value = 2048;
  g.smem_per_sm_bytes.value = 102400;
  g.kernels->attention.kernel = kernel;
  return g;
}

std::string row(const char* kernel, int batch, int prompt, int heads, int kv_heads, int past, double ms,
                const char* kv_dtype = "bfloat16", int head_dim = 128) {
  return fmt::format("{},{},{},{},{},{},bfloat16,{},{},0,{:.9g},\n", kernel, batch, prompt, heads, kv_heads,
                     head_dim, kv_dtype, past, ms);
}
MeasurementTable table(const std::string& rows) {
  return MeasurementTable::parse(kHeader + rows, "table.csv");
}

// Decode and prefill shapes as the public tables have them, timed by the model itself on `truth`.
std::string measured_on(const Gpu& truth, const char* kernel) {
  std::string text;
  const KernelValidator v = generation_attention_validator();
  const auto add = [&](int batch, int prompt, int heads, int kv_heads, int past) {
    const MeasurementTable one = table(row(kernel, batch, prompt, heads, kv_heads, past, 1));
    text += row(kernel, batch, prompt, heads, kv_heads, past, v.predict(truth, one.row(0)).total * 1e-3);
  };
  for (const int heads : {1, 8, 32, 64})
    for (const int kv_heads : {1, 8})
      if (kv_heads <= heads)
        for (const int batch : {1, 4, 32, 128, 512}) {
          for (const int past : {1, 127, 1023, 8191, 32767})
            if (static_cast<double>(batch) * past < 3e6) add(batch, 1, heads, kv_heads, past);
          for (const int prompt : {16, 128, 1024, 8192})
            if (batch * prompt < 100000) add(batch, prompt, heads, kv_heads, 0);
        }
  return text;
}

class Recovery : public testing::TestWithParam<const char*> {};

TEST_P(Recovery, TheFitFindsTheParametersThatMadeTheTable) {
  const bool fa3 = std::string(GetParam()) == "fa3";
  const char* source = fa3 ? "vllm_flash_attn_fa3" : "vllm_flash_attn_fa2";
  Gpu truth = card(GetParam());
  AttentionRates& t = truth.kernels->attention.rates;
  t.launch_us = 4.5, t.combine_us = 3.1, t.cta_us = 0.9, t.cta_gb_s = 150, t.mma_factor = 1.2,
  t.exp_factor = 0.7;
  t.hbm_fraction = 0.85, t.l2_gb_s = 3500, t.l2_share = 0.7, t.kv_write_us = 3, t.heat = 0;
  if (fa3) t.prefill_launch_us = 2.5, t.mask_us = 0.6;
  const MeasurementTable rows = table(measured_on(truth, source));
  std::vector<Row> seen, held_out;
  const KernelValidator v = generation_attention_validator();
  for (std::size_t i = 0; i < rows.size(); ++i)
    (is_held_out(v.shape_key(rows.row(i))) ? held_out : seen).push_back(rows.row(i));
  ASSERT_GT(seen.size(), 60u);
  ASSERT_GT(held_out.size(), 60u);

  Gpu fitted = card(GetParam());
  if (fa3) fitted.kernels->attention.rates.prefill_launch_us = fitted.kernels->attention.rates.mask_us = 1;
  calibrate_attention(fitted, seen);
  double worst = 0;
  for (const Row& r : held_out)
    worst = std::max(worst, std::abs(v.predict(fitted, r).total / r.latency_us() - 1));
  EXPECT_LT(worst, 0.06);
  const AttentionRates& f = fitted.kernels->attention.rates;
  EXPECT_NEAR(f.launch_us / t.launch_us, 1, 0.15);
  EXPECT_NEAR(f.hbm_fraction / t.hbm_fraction, 1, 0.05);
  // One head dim cannot tell tensor time from exponentials; their sum, the tile's time, it can.
  const auto tile_us = [](const AttentionRates& r) {
    return 4.194304 * r.mma_factor + 0.8192 * r.exp_factor;
  };
  EXPECT_NEAR(tile_us(f) / tile_us(t), 1, 0.06);
  EXPECT_NEAR(f.kv_write_us / t.kv_write_us, 1, 0.15);
}

INSTANTIATE_TEST_SUITE_P(Kernels, Recovery, testing::Values("fa2", "fa3"));

TEST(AttentionTables, OneTokenPromptsAreDecodes) {
  const Gpu gpu = card("fa2");
  const KernelValidator v = context_attention_validator();
  const MeasurementTable t =
      table(row("vllm_flash_attn", 8, 1, 32, 8, 0, 1) + row("vllm_flash_attn", 8, 64, 32, 8, 0, 1));
  AttentionShape s;
  s.q_heads = 32, s.kv_heads = 8, s.block_tokens = 64, s.replayed = true;
  EXPECT_EQ(v.predict(gpu, t.row(0)).total, decode_attention_time(gpu, s, {8, 8, {}, 0}).total);
  const std::vector<PrefillChunk> chunks(8, PrefillChunk{64, 0});
  EXPECT_EQ(v.predict(gpu, t.row(1)).total, prefill_attention_time(gpu, s, chunks).total);
  EXPECT_TRUE(context_attention_validator().recognises(t));
  EXPECT_FALSE(generation_attention_validator().recognises(t));
}

TEST(AttentionTables, OtherKernelsAreNotCovered) {
  const KernelValidator v = generation_attention_validator();
  const auto covers = [&](const std::string& line) { return v.covers(table(line).row(0)); };
  EXPECT_TRUE(covers(row("vllm_flash_attn_fa3", 1, 1, 8, 8, 9, 1, "fp8")));
  EXPECT_TRUE(covers(row("vllm_flash_attn_fa2", 1, 1, 8, 8, 9, 1)));
  EXPECT_FALSE(covers(row("vllm_flash_attn_fa4", 1, 1, 8, 8, 9, 1, "bfloat16", 512)));
  EXPECT_FALSE(covers(row("vllm_flash_attn_fa3", 1, 1, 8, 8, 9, 1, "bfloat16", 512)));
  EXPECT_FALSE(covers(row("vllm_flashinfer_fidecode", 1, 1, 8, 8, 9, 1, "fp8")));
  EXPECT_FALSE(covers(row("default", 1, 1, 8, 8, 9, 1)));
}

TEST(AttentionTables, ImpossibleRowsAreRefusedWithTheirPlace) {
  const Gpu gpu = card("fa2");
  const auto error = [&](const std::string& line) -> std::string {
    try {
      generation_attention_validator().predict(gpu, table(line).row(0));
    } catch (const InputError& e) {
      return e.what();
    }
    return "none";
  };
  EXPECT_NE(
      error(row("vllm_flash_attn", 0, 1, 8, 8, 9, 1)).find("table.csv:2:17: batch_size: 0 is out of range"),
      std::string::npos)
      << error(row("vllm_flash_attn", 0, 1, 8, 8, 9, 1));
  EXPECT_NE(
      error(row("vllm_flash_attn", 1, 1, 8, 3, 9, 1)).find("num_key_value_heads: does not divide num_heads"),
      std::string::npos);
  EXPECT_NE(error(row("vllm_flash_attn", 1, 1, 8, 8, -5, 1)).find("past_kv_tokens: -5"), std::string::npos);
  EXPECT_NE(error(row("vllm_flash_attn", 100000, 64, 8, 8, 0, 1)).find("batch_size: expected at most"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera
