// Calibration on tables made from known parameters: what the fit must find again.
#include "validation/calibrate.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/cost/attention.hpp"
#include "kernels/cost/collective.hpp"
#include "kernels/cost/gemm.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

Gpu linked(Gpu g) {
  g.kernels->card = g.name;
  return g;
}

MeasurementTable gemm_table(const Gpu& truth) {
  std::string text = "kernel_source,gemm_dtype,m,n,k,latency_ms,flag\n";
  for (const int m : {1, 2, 16, 64, 200, 512, 2048})
    for (const int n : {32, 256, 1024, 4096, 10240})
      for (const int k : {32, 512, 2048, 8192}) {
        const double us = gemm_time(truth, {m, n, k, DType::bf16, 6}).total;
        text += fmt::format("cublas,bfloat16,{},{},{},{},\n", m, n, k, us * 1e-3);
      }
  return MeasurementTable::parse(std::move(text), "made/gemm.csv");
}

TEST(Calibrate, AGemmFitPredictsShapesItHasNotSeen) {
  Gpu truth = linked(paper_gpu());
  truth.kernels->gemm.epilogue_us = 2;
  Gpu card = truth;
  GemmParams& p = card.kernels->gemm;
  p = GemmParams{};  // start from the defaults
  const std::vector<CalibrationNote> notes = [&] {
    std::vector<MeasurementTable> tables;
    tables.push_back(gemm_table(truth));
    return calibrate(card, tables, {"2000-01-02", "our own (MIT)"});
  }();
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NEAR(p.floor_us, 2, 0.1);
  EXPECT_NEAR(p.hbm_fraction, 0.8, 0.03);
  int unseen = 0;
  for (const int m : {4, 100, 1500})
    for (const int n : {700, 6000})
      for (const int k : {1000, 5000}) {
        const GemmShape s{m, n, k, DType::bf16, 6};
        EXPECT_NEAR(gemm_time(card, s).total / gemm_time(truth, s).total, 1, 0.1)
            << m << " " << n << " " << k;
        ++unseen;
      }
  EXPECT_EQ(unseen, 12);
  EXPECT_EQ(p.source.substr(0, 31), "gemm: our own (MIT) gemm.csv, f");
  EXPECT_NE(p.source.find("held out"), std::string::npos);
  EXPECT_NE(p.source.find("2000-01-02"), std::string::npos);
}

TEST(Calibrate, TheFrameworksAllReduceIsFoundAgain) {
  Gpu truth = linked(paper_gpu());
  truth.kernels->collectives.custom = {.base_us = 4,
                                       .rank_us = 0.3,
                                       .one_shot_gb_s = 55,
                                       .two_shot_us = 2,
                                       .two_shot_gb_s = 70,
                                       .limit_bytes = 1e12,
                                       .eager_host_us = 41};
  std::string text = "kernel_source,allreduce_dtype,num_gpus,message_elements,latency_ms,backend,flag\n";
  for (const int gpus : {2, 4, 8})
    for (std::int64_t elements = 128; elements < (1 << 23); elements *= 2)
      for (const bool graph : {true, false})
        text +=
            fmt::format("vLLM_custom,bfloat16,{},{},{},{},\n", gpus, elements,
                        all_reduce_time(truth, gpus, 2.0 * static_cast<double>(elements), graph).total * 1e-3,
                        graph ? "vllm_graph" : "vllm_eager");
  Gpu card = truth;
  card.kernels->collectives.custom = CustomAllReduceParams{};
  card.kernels->collectives.custom.limit_bytes = 1e12;
  std::vector<MeasurementTable> tables;
  tables.push_back(MeasurementTable::parse(std::move(text), "made/all_reduce.csv"));
  calibrate(card, tables, {"2000-01-02", "our own (MIT)"});
  const CustomAllReduceParams& p = card.kernels->collectives.custom;
  EXPECT_NEAR(p.base_us, 4, 0.04);
  EXPECT_NEAR(p.rank_us, 0.3, 0.02);
  EXPECT_NEAR(p.one_shot_gb_s, 55, 0.6);
  EXPECT_NEAR(p.two_shot_us, 2, 0.05);
  EXPECT_NEAR(p.two_shot_gb_s, 70, 0.7);
  EXPECT_NEAR(p.eager_host_us, 41, 0.01);
}

constexpr const char* kAttentionColumns =
    "kernel_source,batch_size,isl_tokens,num_heads,num_key_value_heads,head_dim,kv_cache_dtype,past_kv_"
    "tokens,"
    "window_size_tokens,latency_ms,flag\n";

AttentionShape table_shape(int kv_heads) {
  AttentionShape s;
  s.q_heads = 32, s.kv_heads = kv_heads;
  s.block_tokens = 64, s.replayed = true;  // as the tables are measured
  return s;
}

MeasurementTable decode_table(const Gpu& truth) {
  std::string text = kAttentionColumns;
  for (const int kv_heads : {1, 4, 8, 32})
    for (std::int64_t batch = 1; batch <= 256; batch *= 2)
      for (std::int64_t context = 64; context <= 32768; context *= 2) {
        const double us =
            decode_attention_time(truth, table_shape(kv_heads), {batch, batch * context, {}, 0}).total;
        text += fmt::format("vllm_flash_attn,{},1,32,{},128,bfloat16,{},0,{},\n", batch, kv_heads,
                            context - 1, us * 1e-3);
      }
  return MeasurementTable::parse(std::move(text), "made/decode.csv");
}

MeasurementTable prefill_table(const Gpu& truth) {
  std::string text = kAttentionColumns;
  for (const int kv_heads : {1, 4, 8, 32})
    for (std::size_t batch = 1; batch <= 64; batch *= 2)
      for (std::int64_t prompt = 16; prompt <= 16384; prompt *= 2) {
        const std::vector<PrefillChunk> chunks(batch, {prompt, 0});
        const double us = prefill_attention_time(truth, table_shape(kv_heads), chunks).total;
        text += fmt::format("vllm_flash_attn,{},{},32,{},128,bfloat16,0,0,{},\n", batch, prompt, kv_heads,
                            us * 1e-3);
      }
  return MeasurementTable::parse(std::move(text), "made/prefill.csv");
}

Gpu attention_truth() {
  Gpu truth = linked(paper_gpu());
  truth.exp_per_clk_sm.value = 16;
  truth.max_threads_per_sm.value = 2048;
  truth.smem_per_sm_bytes.value = 102400;
  AttentionParams& p = truth.kernels->attention;
  p.kernel = "fa2";
  p.rates = {};
  p.rates.launch_us = 2.2, p.rates.cta_us = 1.7, p.rates.combine_us = 3.1, p.rates.kv_write_us = 2.7;
  p.rates.mma_factor = 1.2, p.rates.hbm_fraction = 0.8, p.rates.heat = 0.1;
  return truth;
}

TEST(Calibrate, BothAttentionTablesAreFittedTogether) {
  const Gpu truth = attention_truth();
  const AttentionRates& t = truth.kernels->attention.rates;
  Gpu card = truth;
  AttentionRates& r = card.kernels->attention.rates;
  r.launch_us *= 1.5, r.cta_us *= 0.7, r.combine_us *= 0.6, r.kv_write_us *= 1.5;
  r.mma_factor *= 0.75, r.hbm_fraction *= 0.85, r.heat = 0.01;
  std::vector<MeasurementTable> tables;
  tables.push_back(prefill_table(truth));
  tables.push_back(decode_table(truth));
  const std::vector<CalibrationNote> notes = calibrate(card, tables, {"2000-01-02", "our own (MIT)"});
  // Decode alone sees combine, prefill alone heat; both find what the kernels share.
  EXPECT_NEAR(r.launch_us, t.launch_us, 0.05 * t.launch_us);
  EXPECT_NEAR(r.combine_us, t.combine_us, 0.05 * t.combine_us);
  EXPECT_NEAR(r.cta_us, t.cta_us, 0.1 * t.cta_us);
  EXPECT_NEAR(r.kv_write_us, t.kv_write_us, 0.05 * t.kv_write_us);
  EXPECT_NEAR(r.hbm_fraction, t.hbm_fraction, 0.02);
  EXPECT_NEAR(r.heat, t.heat, 0.01);
  // With one head size only the sum of a tile's parts is determined: by a prompt of compute alone.
  const std::vector<PrefillChunk> prompt{{10000, 0}};
  EXPECT_NEAR(prefill_attention_time(card, table_shape(8), prompt).total /
                  prefill_attention_time(truth, table_shape(8), prompt).total,
              1, 0.01);
  // One note a table, in the tables' order, both of one fit.
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_EQ(notes[0].kernel, "context_attention");
  EXPECT_EQ(notes[1].kernel, "generation_attention");
  EXPECT_EQ(notes[0].at_bound, notes[1].at_bound);
  EXPECT_EQ(card.kernels->attention.source, notes[0].text + " | " + notes[1].text);
}

TEST(Calibrate, ParametersLeftAtABoundAreNamedInTheSource) {
  Gpu truth = attention_truth();
  truth.kernels->attention.rates.hbm_fraction = 1;  // beyond the 0.98 that read streams reach
  Gpu card = truth;
  card.kernels->attention.rates.hbm_fraction = 0.9;
  std::vector<MeasurementTable> tables;
  tables.push_back(decode_table(truth));
  tables.push_back(prefill_table(truth));
  const std::vector<CalibrationNote> notes = calibrate(card, tables, {"2000-01-02", "our own (MIT)"});
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_NE(std::find(notes[0].at_bound.begin(), notes[0].at_bound.end(), "rates.hbm_fraction"),
            notes[0].at_bound.end());
  const std::string& source = card.kernels->attention.source;
  const std::size_t at = source.find("; at a bound of their range: ");
  ASSERT_NE(at, std::string::npos);
  EXPECT_NE(source.find("hbm_fraction", at), std::string::npos);
}

TEST(Calibrate, ATableWithoutUsableRowsIsRefused) {
  Gpu card = linked(paper_gpu());
  std::vector<MeasurementTable> tables;
  tables.push_back(MeasurementTable::parse(
      "kernel_source,gemm_dtype,m,n,k,latency_ms,flag\nx,nvfp4,1,1,1,1,\nx,bfloat16,1,1,1,1,slow_outlier\n",
      "t.csv"));
  EXPECT_THROW(calibrate(card, tables, {"2000-01-02", "our own (MIT)"}), InputError);
}

TEST(Borrow, TakesASectionRescaledToThisCard) {
  Gpu card = linked(paper_gpu());
  Gpu other = linked(paper_gpu());
  other.name = other.kernels->card = "other";
  other.nvlink_gb_s.value = 400;
  other.kernels->collectives.nccl.simple_gb_s = 320;
  other.kernels->collectives.source = "nccl: o.csv";
  borrow(card, "collectives", other);
  EXPECT_DOUBLE_EQ(card.kernels->collectives.nccl.simple_gb_s, 80);
  EXPECT_EQ(card.kernels->collectives.source, "estimated for paper from other: nccl: o.csv");
  EXPECT_THROW(borrow(card, "gem", other), InputError);
}

}  // namespace
}  // namespace tessera
