// What attention costs, on a card with round numbers.
#include "kernels/cost/attention.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/cost/attention_machine.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"

namespace tessera {
namespace {

// On the paper card a 64 x 128 tile of head dim 128 has 4.194304 us of tensor work (1 TFLOP/s an SM), 0.8192
// us of exponentials, and a load of 0.4 us latency + 64 KiB at 65.536 GB/s = 1 us: 6.413504 us in all.
constexpr double kTile = 4.194304 + 0.8192 + 1.4;

Gpu card(const char* kernel = "fa2") {
  Gpu g = paper_gpu();
  g.exp_per_clk_sm.value = 10;
  g.max_threads_per_sm.value = 2048;
  g.smem_per_sm_bytes.value = 102400;  // one CTA an SM
  AttentionParams& p = g.kernels->attention;
  p.kernel = kernel;
  p.rates = {.launch_us = 3,
             .prefill_launch_us = 0,
             .combine_us = 5,
             .combine_per_split_us = 0,
             .cta_us = 1,
             .mask_us = 0,
             .cta_gb_s = 65.536,
             .mma_factor = 1,
             .exp_factor = 1,
             .hbm_fraction = 0.8,
             .l2_gb_s = 4000,
             .l2_share = 1,
             .kv_write_us = 2,
             .heat = 0};
  p.paging_factor = 1.1;
  return g;
}

AttentionShape shape(int q_heads, int kv_heads, int block_tokens = 64) {
  AttentionShape s;
  s.q_heads = q_heads, s.kv_heads = kv_heads, s.block_tokens = block_tokens;
  return s;
}
DecodeBatch equal(std::int64_t sequences, std::int64_t context) {
  return {sequences, sequences * context, {}, 0};
}
double decode(const Gpu& g, const AttentionShape& s, const DecodeBatch& b) {
  return decode_attention_time(g, s, b).total;
}
double prefill(const Gpu& g, const AttentionShape& s, std::vector<PrefillChunk> chunks) {
  return prefill_attention_time(g, s, chunks).total;
}

TEST(Fa2Decode, OneTileIsLaunchWriteAndOneCta) {
  // 3 launch + 2 write + 1 CTA + one tile + 128 x 512 B of KV and 512 B of Q and O at 800 GB/s.
  EXPECT_NEAR(decode(card(), shape(1, 1), equal(1, 128)), 3 + 2 + 1 + kTile + (65536 + 512) / 800e3, 1e-4);
  // A context of one token costs a whole padded tile, only the bytes are fewer.
  EXPECT_NEAR(decode(card(), shape(1, 1), equal(1, 1)), 3 + 2 + 1 + kTile + 2 * 512 / 800e3, 1e-4);
}

TEST(Fa2Decode, EqualSequencesRunInWaves) {
  // MHA, one head: 100 sequences fill the card once, 101 need a second wave. Memory is negligible next to
  // compute.
  Gpu g = card();
  g.hbm_gb_s.value = 1e9;
  const double one = decode(g, shape(1, 1), equal(100, 1280)), two = decode(g, shape(1, 1), equal(101, 1280));
  EXPECT_NEAR(one, 5 + 1 + 10 * kTile, 0.01);
  EXPECT_NEAR(two, 5 + 2 * (1 + 10 * kTile), 0.01);
}

TEST(Fa2Decode, PackedHeadsCopyAndSplitsCombine) {
  Gpu g = card();
  g.hbm_gb_s.value = 1e9, g.kernels->attention.rates.l2_gb_s = 1e9;
  // One tile cannot be split. One KV head: the output copy, 0.6 x 5 us.
  EXPECT_NEAR(decode(g, shape(4, 1), equal(1, 128)), 5 + 3 + 1 + kTile, 1e-3);
  // Several KV heads and sequences without splits: queries, output and LSE copies.
  EXPECT_NEAR(decode(g, shape(32, 8), equal(2, 128)), 5 + 9 + 1 + kTile, 1e-3);
  // 8 blocks on 2 x 100 slots, 16 tiles: s = 16 (128 of 200 slots, 0.64) is the best count and 85 % of it
  // needs 0.544: s = 14, 15 have the 2 tiles of 8 (0.32), so 16 it is: one tile each in ceil(128 / 100) = 2
  // waves. Then one copy and the combine kernel.
  EXPECT_NEAR(decode(g, shape(32, 8), equal(1, 16 * 128)), 5 + 3 + 5 + 2 * (1 + kTile), 1e-2);
}

TEST(Fa2Decode, AnyWindowGivesUpPacking) {
  const Gpu g = card();
  AttentionShape windowed = shape(32, 8);
  windowed.window = 1 << 20;  // never binds
  EXPECT_GT(decode(g, windowed, equal(64, 1024)), 2 * decode(g, shape(32, 8), equal(64, 1024)));
  windowed.window = 128;
  EXPECT_LT(decode(g, windowed, equal(64, 8192)), decode(g, shape(32, 8), equal(64, 8192)));
}

TEST(Decode, LongContextsAreReadAtTheAchievedBandwidth) {
  // 8 KV heads x 512 B x 256 sequences x 16,384 tokens = 17.18 GB at 800 GB/s = 21,475 us. The tensor work of
  // 2,048 CTAs in 21 waves of 128 tiles (17,240 us) overlaps it as the cube root of the cubes.
  const double memory = 256.0 * 16384 * 4096 / 800e3, waves = 21 * (1 + 128 * kTile);
  EXPECT_NEAR(decode(card(), shape(32, 8), equal(256, 16384)),
              std::cbrt(std::pow(memory, 3) + std::pow(waves, 3)), 0.01 * memory);
}

TEST(Decode, SmallPagesSlowTheReadByTheStatedFactor) {
  Gpu g = card();
  g.datasheet_bf16_tflops.value = 1e7, g.bf16_flops_per_clk_sm.value = 1e7;  // memory alone
  g.exp_per_clk_sm.value = 1e9, g.kernels->attention.rates.cta_gb_s = 1e9, g.dram_latency_ns.value = 0;
  const DecodeBatch batch = equal(256, 32768);
  const double pages64 = decode(g, shape(32, 8, 64), batch);
  EXPECT_NEAR(decode(g, shape(32, 8, 16), batch) / pages64, 1.1, 0.002);
  EXPECT_NEAR(decode(g, shape(32, 8, 32), batch) / pages64, 1.05, 0.002);
  EXPECT_EQ(decode(g, shape(32, 8, 128), batch), pages64);
}

TEST(Decode, AReplayThatFitsL2IsFasterAndALargeOneIsNot) {
  AttentionShape warm = shape(32, 8);
  warm.replayed = true;
  Gpu g = card();
  g.kernels->attention.rates.mma_factor = 0.01;
  const DecodeBatch fits = equal(64, 128), flows = equal(64, 16384);  // 34 MB and 4.3 GB against 100 MB
  EXPECT_LT(decode(g, warm, fits), 0.8 * decode(g, shape(32, 8), fits));
  EXPECT_NEAR(decode(g, warm, flows) / decode(g, shape(32, 8), flows), 1, 1e-6);
}

// Lengths as the serving loop keeps them: descending, relative to a running offset.
struct Ragged {
  std::vector<std::int32_t> lengths;
  DecodeBatch batch(std::int64_t offset = 0) const {
    const auto n = static_cast<std::int64_t>(lengths.size());
    return {n, std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}) + n * offset, lengths,
            offset};
  }
};

TEST(Decode, RaggedBatchesCostMoreAndEqualOnesTheSame) {
  for (const char* kernel : {"fa2", "fa3"}) {
    const Gpu g = card(kernel);
    const Ragged even{std::vector<std::int32_t>(64, 2048)};
    EXPECT_NEAR(decode(g, shape(32, 8), even.batch()) / decode(g, shape(32, 8), equal(64, 2048)), 1, 0.01)
        << kernel;
    Ragged skewed{std::vector<std::int32_t>(64, 1024)};
    skewed.lengths[0] = 1024 + 64 * 1024;  // the same sum
    EXPECT_EQ(skewed.batch().kv_tokens, even.batch().kv_tokens);
    EXPECT_GT(decode(g, shape(32, 8), skewed.batch()), decode(g, shape(32, 8), even.batch())) << kernel;
  }
}

TEST(Decode, TheOffsetShiftsEveryLength) {
  const Ragged now{{900, 700, 500, 100}}, later{{910, 710, 510, 110}};
  for (const char* kernel : {"fa2", "fa3"})
    EXPECT_EQ(decode(card(kernel), shape(32, 8), now.batch(10)),
              decode(card(kernel), shape(32, 8), later.batch()));
}

TEST(Prefill, TheWriteIsLimitedByResidentThreads) {
  // 4 KV heads x 128 = 512 threads: 4 CTAs an SM, 400 tokens a wave; 8 heads need no more threads, 1 head
  // 128.
  Gpu g = card();
  g.hbm_gb_s.value = 1e9;
  const auto write = [&](int kv_heads, double tokens) {
    const AttentionShape s = shape(kv_heads, kv_heads);
    return AttentionMachine(g, s, 0).kv_write_us(tokens);
  };
  EXPECT_NEAR(write(4, 4000), 10 * 2.0, 1e-3);
  EXPECT_NEAR(write(8, 4000), 10 * 2.0, 1e-3);
  EXPECT_NEAR(write(1, 4000), 3 * 2.0, 1e-3);  // 16 CTAs an SM: ceil(4000 / 1600)
}

TEST(Prefill, ALongPromptTakesItsTilesAtTheTileRate) {
  // 8,192 queries, 32 heads: 128 row blocks, 64 x 65 = 4,160 tiles a head, 133,120 in all on 100 SMs; the
  // longest CTA (64 tiles) ends last. Memory hides.
  Gpu g = card();
  g.hbm_gb_s.value = 1e9;
  const double work = (133120 * kTile + 4096) / 100;
  const double predicted = prefill(g, shape(32, 8), {{8192, 0}});
  EXPECT_GT(predicted, work);
  EXPECT_LT(predicted, work + 64 * kTile + 64);
}

TEST(Prefill, HistoryAddsItsTilesAndChunksSum) {
  for (const char* kernel : {"fa2", "fa3"}) {
    const Gpu g = card(kernel);
    EXPECT_GT(prefill(g, shape(32, 8), {{512, 8192}}), 3 * prefill(g, shape(32, 8), {{512, 0}}));
    const double one = prefill(g, shape(32, 8), {{2048, 0}}),
                 four = prefill(g, shape(32, 8), {{2048, 0}, {2048, 0}, {2048, 0}, {2048, 0}});
    EXPECT_NEAR(four / (4 * one), 0.97, 0.12) << kernel;
    // Quadratic: one prompt of 8,192 costs about four times the four.
    EXPECT_GT(prefill(g, shape(32, 8), {{8192, 0}}), 2.5 * four) << kernel;
  }
}

TEST(Prefill, MoreChunksThanGroupsStillSumExactly) {
  // 200 equal chunks, most of them known only as their mean, cost as much as 200 / 25 times 25.
  const Gpu g = card();
  const double few = prefill(g, shape(32, 8), std::vector<PrefillChunk>(25, {512, 0}));
  const double many = prefill(g, shape(32, 8), std::vector<PrefillChunk>(200, {512, 0}));
  EXPECT_NEAR(many / (8 * few), 0.98, 0.03);
}

TEST(Mixed, OnFa2APromptTokenUnpacksEveryDecode) {
  const Gpu fa2 = card("fa2"), fa3 = card("fa3");
  const DecodeBatch batch = equal(64, 2048);
  const std::vector<PrefillChunk> chunk{{16, 0}};
  const auto extra = [&](const Gpu& g) {
    return mixed_attention_time(g, shape(32, 8), batch, chunk).total / decode(g, shape(32, 8), batch);
  };
  // 64 sequences x 32 heads of 64-row tiles instead of 64 x 8: 21 waves of 16 tiles instead of 6, of which
  // the decode kernel hid two thirds behind memory.
  EXPECT_GT(extra(fa2), 2);
  EXPECT_LT(extra(fa2), 4.5);
  EXPECT_LT(extra(fa3), 2.5);
}

TEST(Mixed, IsDecodeWithoutChunksAndPrefillWithoutDecodes) {
  const Gpu g = card();
  const std::vector<PrefillChunk> chunk{{256, 100}};
  EXPECT_EQ(mixed_attention_time(g, shape(32, 8), equal(8, 300), {}).total,
            decode(g, shape(32, 8), equal(8, 300)));
  EXPECT_EQ(mixed_attention_time(g, shape(32, 8), {}, chunk).total, prefill(g, shape(32, 8), chunk));
  EXPECT_EQ(decode_attention_time(g, shape(32, 8), {}).total, 0);
  EXPECT_EQ(prefill_attention_time(g, shape(32, 8), {}).total, 0);
}

TEST(Mixed, EmptyRowBlocksOfDecodesTakeTwoL2LatenciesEach) {
  // A chunk of 2,048 tokens has 32 row blocks, so the grid has 31 empty ones for each of 128 decodes and 32
  // heads: 126,976 on 100 SMs, 0.4 us each, all of it in the open where memory is free.
  Gpu g = card();
  g.hbm_gb_s.value = 1e9;
  const std::vector<PrefillChunk> chunk{{2048, 0}};
  const double with = mixed_attention_time(g, shape(32, 8), equal(128, 16), chunk).total;
  g.l2_latency_ns.value = 0;
  const double without = mixed_attention_time(g, shape(32, 8), equal(128, 16), chunk).total;
  EXPECT_NEAR(with - without, 126976 / 100.0 * 0.4, 1e-3);
}

// A card on which tiles are nearly free, so that launches take the time of their bytes, and whose L2 keeps
// any keys.
Gpu bytes_only() {
  Gpu g = card();
  g.datasheet_bf16_tflops.value = 1e7, g.bf16_flops_per_clk_sm.value = 1e7;
  g.exp_per_clk_sm.value = 1e9, g.dram_latency_ns.value = g.l2_latency_ns.value = 0;
  AttentionRates& r = g.kernels->attention.rates;
  r.cta_gb_s = 1e9, r.cta_us = 1e-9, r.kv_write_us = 1e-9, r.launch_us = 0, r.l2_share = 1e3;
  return g;
}

TEST(Prefill, PhasesOfAGroupMoveEachByteOnce) {
  // 32 heads of 64 row blocks in 8 groups: 2.56 waves a group, two phases. Once all of K, V, Q and O cross
  // the pins, however many waves there are, plus half of Q, O and the new keys at the ends, plus their write.
  const double s = 4096, kv = s * 8 * 512, io = s * 32 * 512;
  const double write = s * 8 * 256 * 4;
  const double bytes = kv + io + 0.5 * (kv + io) + write;
  EXPECT_NEAR(prefill(bytes_only(), shape(32, 8), {{4096, 0}}), bytes / 800e3, 0.01 * bytes / 800e3);
  // 64 prompts fill 163.84 waves a group, 40.96 a head: the phases do not depend on it.
  const std::vector<PrefillChunk> many(64, {4096, 0});
  EXPECT_NEAR(prefill(bytes_only(), shape(32, 8), many), 64 * bytes / 800e3, 0.01 * 64 * bytes / 800e3);
}

TEST(Prefill, QueriesAndOutputsFlowBesideAllHeads) {
  // 32 heads on one KV head, so nearly all bytes are Q and O: 400 prompts x 64 tokens x 32 heads x 512 B =
  // 419.4304 MB beside 12,800 CTAs of one tile in 128 waves. Read as fast as the tiles run, they overlap
  // them throughout, not the first head's 4 waves only; half of them and of the new keys are exposed.
  Gpu g = card();
  const double tiles = 128 * (1 + kTile), queries = 400 * 64 * 32 * 512.0, keys = 400 * 64 * 512.0;
  g.hbm_gb_s.value = queries / tiles / 800;
  g.kernels->attention.rates.kv_write_us = 1e-9;
  const double us_per_byte = tiles / queries;
  const double expected =
      3 + 2 * keys * us_per_byte + overlap_tightly(tiles, tiles) + 0.5 * (queries + keys) * us_per_byte;
  EXPECT_NEAR(prefill(g, shape(32, 1), std::vector<PrefillChunk>(400, {64, 0})), expected, 0.03 * expected);
}

TEST(Prefill, HeadsOfManyWavesWaitForTheirKeysAsOneOfTwoDoes) {
  // Four heads share one KV head. 25 chunks of 8 row blocks fill two waves a head, 250 fill twenty; either
  // way one head of the four runs against the keys of all chunks. Ten times the chunks, ten times the time,
  // memory included: the keys take longer than the tiles of one head, 2 waves of 9,216 / 1,280 tiles.
  Gpu g = card();
  g.hbm_gb_s.value = 20;
  g.kernels->attention.rates.l2_share = 1e3, g.kernels->attention.rates.launch_us = 0;
  const auto time = [&](std::size_t chunks) {
    return prefill(g, shape(4, 1), std::vector<PrefillChunk>(chunks, {512, 4096}));
  };
  EXPECT_NEAR(time(250) / time(25), 10, 0.1);
}

TEST(Attention, AnUncalibratedDataTypeSaysSo) {
  AttentionShape s = shape(32, 8);
  EXPECT_TRUE(decode_attention_time(card(), s, equal(8, 512)).in_range);
  s.kv_dtype = DType::fp8;
  EXPECT_FALSE(decode_attention_time(card(), s, equal(8, 512)).in_range);
  s.kv_dtype = DType::bf16, s.head_dim = s.v_head_dim = 512;
  EXPECT_FALSE(decode_attention_time(card(), s, equal(8, 512)).in_range);
}

TEST(Attention, IsCheapEnoughForTheServingLoop) {
  const Gpu g = card();
  Ragged batch;
  for (int i = 0; i < 128; ++i) batch.lengths.push_back(4000 - 30 * i);
  const std::vector<PrefillChunk> chunk{{1500, 700}};
  const auto nanoseconds = [](const auto& call) {
    double best = 1e18;
    for (int repeat = 0; repeat < 5; ++repeat) {
      const auto start = std::chrono::steady_clock::now();
      double sum = 0;
      for (int i = 0; i < 2000; ++i) sum += call(i);
      EXPECT_GT(sum, 0);
      best = std::min(
          best,
          std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / 2000);
    }
    return best;
  };
  const double decode_ns = nanoseconds([&](int i) { return decode(g, shape(32, 8), batch.batch(i)); });
  const double prefill_ns =
      nanoseconds([&](int) { return prefill_attention_time(g, shape(32, 8), chunk).total; });
  RecordProperty("decode_ns", std::to_string(decode_ns));
  RecordProperty("prefill_ns", std::to_string(prefill_ns));
  std::printf("decode, 128 sequences: %.0f ns; prefill, one chunk: %.0f ns\n", decode_ns, prefill_ns);
#ifdef NDEBUG
  EXPECT_LT(decode_ns,
            10000);  // about 650 measured; the bound catches a walk over the batch or an allocation
  EXPECT_LT(prefill_ns, 10000);
#endif
}

}  // namespace
}  // namespace tessera
