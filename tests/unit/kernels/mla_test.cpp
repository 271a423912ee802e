// Latent attention: what it costs on a card with round numbers, and how far the closed forms are from tables
// of another library, with no parameter fitted to them.
#include "kernels/cost/mla.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <vector>

#include "tests/unit/kernels/paper_gpu.hpp"
#include "validation/measurement.hpp"
#include "validation/statistics.hpp"

namespace tessera {
namespace {

Gpu card() {
  Gpu g = paper_gpu();
  g.exp_per_clk_sm.value = 10;
  g.max_threads_per_sm.value = 2048;
  g.smem_per_sm_bytes.value = 233472;
  g.kernels->attention.kernel = "fa3";
  g.kernels->attention.rates = {.launch_us = 3,
                                .prefill_launch_us = 0,
                                .combine_us = 5,
                                .combine_per_split_us = 0,
                                .cta_us = 1,
                                .mask_us = 0,
                                .cta_gb_s = 73.728,
                                .mma_factor = 1,
                                .exp_factor = 1,
                                .hbm_fraction = 0.8,
                                .l2_gb_s = 4000,
                                .l2_share = 1,
                                .kv_write_us = 2,
                                .heat = 0};
  return g;
}
double decode(const Gpu& g, const MlaShape& s, std::int64_t sequences, std::int64_t context) {
  return mla_decode_time(g, s, {sequences, sequences * context, {}, 0}).total;
}

TEST(Mla, OneShortContextIsALaunchATileAndACombine) {
  // 64 heads x 64 tokens: 2 x 64 x 64 x 1,088 FLOP at 1 TFLOP/s = 8.9129 us and 0.4096 us of exponentials
  // after a load of 0.4 + 1 us. 64 records of 1,152 B hide (0.092 us); 64 x 1,088 x 2 B of queries and
  // outputs do not.
  MlaShape s;
  s.heads = 64;
  EXPECT_NEAR(decode(card(), s, 1, 64), 3 + 1 + 1.4 + 9.3225 + 0.1741 + 5, 0.001);
  // Fewer heads leave rows of the tile empty and cost the same but for the queries.
  s.heads = 8;
  EXPECT_NEAR(decode(card(), s, 1, 64), 3 + 1 + 1.4 + 9.3225 + 0.0218 + 5, 0.001);
}

TEST(Mla, RecordsAreReadOnceForAllHeads) {
  // 256 x 32,768 records of 1,152 B = 9.664 GB at 800 GB/s = 12,080 us whatever the heads; tensor time
  // vanishes.
  Gpu g = card();
  g.datasheet_bf16_tflops.value = 1e7, g.bf16_flops_per_clk_sm.value = 1e7, g.exp_per_clk_sm.value = 1e9;
  g.kernels->attention.rates.cta_gb_s = 1e6, g.dram_latency_ns.value = 0;
  MlaShape few, many;
  few.heads = 16, many.heads = 128;
  EXPECT_NEAR(decode(g, few, 256, 32768), 12080, 40);
  EXPECT_NEAR(decode(g, many, 256, 32768), 12080 + 256.0 * 128 * 1088 * 2 / 800e3, 40);
}

TEST(Mla, AnFp8RecordHalvesTheTraffic) {
  Gpu g = card();
  g.datasheet_bf16_tflops.value = 1e7, g.bf16_flops_per_clk_sm.value = 1e7, g.exp_per_clk_sm.value = 1e9;
  MlaShape bf16, fp8;
  bf16.heads = fp8.heads = 16, fp8.record_bytes = 576 + 80;
  EXPECT_NEAR(decode(g, fp8, 256, 65536) / decode(g, bf16, 256, 65536), 656.0 / 1152, 0.01);
}

TEST(Mla, SelectionBoundsWhatADecodeReads) {
  MlaShape all, selected;
  selected.read_limit = 2048;
  EXPECT_EQ(decode(card(), selected, 32, 2048), decode(card(), all, 32, 2048));
  EXPECT_EQ(decode(card(), selected, 32, 100000), decode(card(), all, 32, 2048));
  // The indexer still reads its key of every token: 128 + 4 bytes, 64 heads of 128.
  MlaShape indexer{.heads = 64, .qk_dim = 128, .v_dim = 0, .record_bytes = 132, .read_limit = 0};
  EXPECT_GE(decode(card(), indexer, 32, 100000), 32 * 100000 * 132.0 / 1e6);
  EXPECT_GE(decode(card(), indexer, 32, 100000), 2.0 * 64 * 128 * 32 * 100000 / 1e8);
}

TEST(Mla, ExpandedPrefillIsTensorWork) {
  // 8,192 tokens, 128 heads: 64 x 65 / 2 tiles of 128 x 128 a head; 2 x 128 x 128 x 320 FLOP each = 10.486 us
  // and 1.638 us of exponentials on one of 100 SMs.
  MlaShape s{.heads = 128, .qk_dim = 192, .v_dim = 128};
  const std::vector<PrefillChunk> chunk{{8192, 0}};
  const double tiles = 128.0 * 64 * 65 / 2 * (10.48576 + 1.6384) / 100;
  EXPECT_NEAR(mla_prefill_time(card(), s, chunk).total / tiles, 1.01, 0.02);
  EXPECT_EQ(mla_prefill_time(card(), s, {}).total, 0);
}

struct Table {
  const char* gpu;
  const char* file;
  bool decode;
  double median;  // budget, percent
};

class MlaTables : public testing::TestWithParam<Table> {};

// bf16 rows of 50 us and more of TensorRT-LLM's kernels: another library, so the budgets are wide. The A100
// tables are left out: TensorRT-LLM has no FlashMLA there (three times slower), vLLM was timed with a host
// floor of 300 us.
TEST_P(MlaTables, AreWithinTheStatedError) {
  const std::string path = std::string(TESSERA_SHARED_DATA) + "/silicon/aic/" + GetParam().file + ".csv.gz";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no measurements at " << path;
  const MeasurementTable table = MeasurementTable::load(path);
  const Gpu gpu = load_gpu(GetParam().gpu);
  constexpr double least_us = 50;
  std::vector<double> ratios, all;
  for (std::size_t i = 0; i < table.size(); ++i) {
    const Row row = table.row(i);
    if (row.flagged() || row.text("kv_cache_dtype") != "bfloat16") continue;
    MlaShape s;
    s.heads = static_cast<int>(row.integer("num_heads"));
    s.replayed = true;
    const std::int64_t batch = row.integer("batch_size");
    double predicted = 0;
    if (GetParam().decode) {
      predicted = decode(gpu, s, batch, row.integer("past_kv_tokens") + 1);
    } else {
      s.qk_dim = 192, s.v_dim = 128;
      const std::vector<PrefillChunk> chunks(static_cast<std::size_t>(batch), {row.integer("isl_tokens"), 0});
      predicted = mla_prefill_time(gpu, s, chunks).total;
    }
    all.push_back(predicted / row.latency_us());
    if (row.latency_us() >= least_us) ratios.push_back(all.back());
  }
  ASSERT_GT(ratios.size(), 50u);
  const ErrorSummary e = summarise(ratios), every = summarise(all);
  std::printf(
      "%s: %zu rows of %.0f us and more, median %.1f %%, p90 %.1f %%, bias %+.1f %%; all %zu: median %.1f "
      "%%, bias %+.1f %%\n",
      GetParam().file, e.rows, least_us, e.median_ape, e.p90_ape, e.bias, every.rows, every.median_ape,
      every.bias);
  EXPECT_LE(e.median_ape, GetParam().median);
}

INSTANTIATE_TEST_SUITE_P(
    Cards, MlaTables,
    testing::Values(Table{"h100-sxm", "h100_sxm_trtllm-1.3.0rc20_generation_mla", true, 16},
                    Table{"h200-sxm", "h200_sxm_trtllm-1.3.0rc20_generation_mla", true, 16},
                    Table{"h100-sxm", "h100_sxm_trtllm-1.3.0rc20_context_mla", false, 25},
                    Table{"h200-sxm", "h200_sxm_trtllm-1.3.0rc20_context_mla", false, 25}));

}  // namespace
}  // namespace tessera
