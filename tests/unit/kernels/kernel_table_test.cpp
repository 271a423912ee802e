#include "kernels/cost/kernel_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <random>

#include "tests/unit/kernels/paper_gpu.hpp"
#include "validation/measurement.hpp"
#include "validation/statistics.hpp"

namespace tessera {
namespace {

constexpr int kAsMeasured = KernelTable::kWeightCopies;

GemmShape gemm(std::int64_t m, std::int64_t n, std::int64_t k, int copies = kAsMeasured) {
  return {m, n, k, DType::bf16, copies};
}

AttentionShape heads(int q, int kv, bool replayed) {
  AttentionShape s;
  s.q_heads = q;
  s.kv_heads = kv;
  s.block_tokens = KernelTable::kBlockTokens;
  s.replayed = replayed;
  return s;
}

DecodeBatch batch(std::int64_t sequences, std::int64_t context) {
  DecodeBatch b;
  b.sequences = sequences;
  b.kv_tokens = sequences * context;
  return b;
}

// Rows on a factor-4 grid whose time is the closed form's divided by utilisation(m, n, k).
KernelTable gemm_grid(const Gpu& gpu, const std::function<double(double, double, double)>& utilisation) {
  KernelTable table;
  for (std::int64_t m = 1; m <= 4096; m *= 4)
    for (std::int64_t n = 256; n <= 16384; n *= 4)
      for (std::int64_t k = 256; k <= 16384; k *= 4)
        table.add_gemm(DType::bf16, m, n, k,
                       gemm_time(gpu, gemm(m, n, k)).total / utilisation(double(m), double(n), double(k)));
  table.finish(gpu);
  return table;
}

TEST(KernelTable, GivesAMeasuredShapeItsMeasuredTime) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  table.add_gemm(DType::bf16, 16, 4096, 4096, 123.0);
  table.add_gemm(DType::bf16, 32, 4096, 4096, 77.0);  // faster with more rows: no smooth model says so
  table.finish(gpu);
  EXPECT_EQ(table.size(), 2u);
  EXPECT_NEAR(table.gemm(gpu, gemm(16, 4096, 4096))->total, 123.0, 1e-9);
  EXPECT_NEAR(table.gemm(gpu, gemm(32, 4096, 4096))->total, 77.0, 1e-9);
  EXPECT_TRUE(table.gemm(gpu, gemm(32, 4096, 4096))->in_range);
}

TEST(KernelTable, InterpolatesUtilisationAndNotLatency) {
  const Gpu gpu = paper_gpu();
  const KernelTable table = gemm_grid(gpu, [](double, double, double) { return 0.8; });
  for (const GemmShape& shape : {gemm(3, 1000, 700), gemm(200, 5000, 5000), gemm(2049, 300, 16000)}) {
    const OpTime time = *table.gemm(gpu, shape);
    EXPECT_NEAR(time.total, gemm_time(gpu, shape).total / 0.8, 1e-6 * time.total);
    EXPECT_TRUE(time.in_range);
  }
}

TEST(KernelTable, FollowsATrendOfTheUtilisation) {
  const Gpu gpu = paper_gpu();
  const auto trend = [](double m, double n, double k) {
    return std::exp(-1 + 0.05 * std::log2(m) + 0.03 * std::log2(n) - 0.02 * std::log2(k));
  };
  const KernelTable table = gemm_grid(gpu, trend);
  for (const GemmShape& shape : {gemm(32, 2048, 2048), gemm(100, 3000, 1500), gemm(500, 700, 9000)}) {
    const double expected =
        gemm_time(gpu, shape).total / trend(double(shape.m), double(shape.n), double(shape.k));
    EXPECT_NEAR(table.gemm(gpu, shape)->total / expected, 1, 0.01);
  }
}

TEST(KernelTable, IsNotMisledByOneNeighbourOffThePlane) {
  const Gpu gpu = paper_gpu();
  const KernelTable table = gemm_grid(
      gpu, [](double m, double n, double k) { return m == 64 && n == 4096 && k == 4096 ? 0.2 : 0.8; });
  const GemmShape near = gemm(128, 8192, 8192);  // in the middle of eight rows, the odd one among them
  EXPECT_NEAR(table.gemm(gpu, near)->total / (gemm_time(gpu, near).total / 0.8), 1, 0.05);
}

TEST(KernelTable, HoldsTheUtilisationOfTheBoundaryOutsideAndSaysSo) {
  const Gpu gpu = paper_gpu();
  // 0.5 at one row, 0.9 from 1,024 rows on: a continued trend would pass 1.
  const KernelTable table =
      gemm_grid(gpu, [](double m, double, double) { return std::min(0.9, 0.5 + 0.04 * std::log2(m)); });
  const GemmShape far = gemm(1 << 20, 4096, 4096);
  const OpTime time = *table.gemm(gpu, far);
  EXPECT_FALSE(time.in_range);
  EXPECT_NEAR(time.total, gemm_time(gpu, far).total / 0.9, 0.02 * time.total);
}

TEST(KernelTable, EndsWhereTheMeasuredStaircaseDoes) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  for (std::int64_t m = 64; m <= 8192; m *= 2) {
    table.add_gemm(DType::bf16, m, 1024, 1024, 10.0 + double(m));
    if (m <= 1024) table.add_gemm(DType::bf16, m, 8192, 8192, 900.0 + double(m));
  }
  table.finish(gpu);
  EXPECT_TRUE(table.gemm(gpu, gemm(3000, 1024, 1024))->in_range);
  EXPECT_TRUE(table.gemm(gpu, gemm(700, 5000, 6000))->in_range);
  EXPECT_FALSE(table.gemm(gpu, gemm(3000, 8192, 8192))->in_range);  // within the box, beyond every large row
  EXPECT_FALSE(table.gemm(gpu, gemm(32, 1024, 1024))->in_range);
}

TEST(KernelTable, KnowsThatServingFindsWeightsCold) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  table.add_gemm(DType::bf16, 16, 1024, 1024, 4.0);  // six times 2 MB of weights stay in 100 MB of L2
  table.finish(gpu);
  const double cold = gemm_time(gpu, gemm(16, 1024, 1024, 0)).total;
  const double warm = gemm_time(gpu, gemm(16, 1024, 1024)).total;
  ASSERT_GT(cold, 1.2 * warm);
  EXPECT_NEAR(table.gemm(gpu, gemm(16, 1024, 1024, 0))->total, 4.0 * cold / warm, 1e-9);
}

TEST(KernelTable, KnowsThatServingSustainsALowerClock) {
  const Gpu idle = paper_gpu();
  Gpu busy = idle;
  busy.kernels->sustained_clock_fraction = 0.9;
  KernelTable table;
  table.add_gemm(DType::bf16, 8192, 8192, 8192, 12'000.0);  // compute-bound
  table.finish(busy);                                       // the rows come from an idle card all the same
  const double expected = 12'000.0 * gemm_time(busy, gemm(8192, 8192, 8192)).total /
                          gemm_time(idle, gemm(8192, 8192, 8192)).total;
  EXPECT_GT(expected, 13'000.0);
  EXPECT_NEAR(table.gemm(busy, gemm(8192, 8192, 8192))->total, expected, 1e-6);
}

TEST(KernelTable, IsNeverFasterThanPhysics) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  table.add_gemm(DType::bf16, 4096, 4096, 4096, 1.0);  // 1,374 us at the peak rate
  table.finish(gpu);
  EXPECT_DOUBLE_EQ(table.gemm(gpu, gemm(4096, 4096, 4096))->total,
                   gemm_floor_us(gpu, gemm(4096, 4096, 4096)));
}

TEST(KernelTable, AnswersOnlyForFormatsItHolds) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  table.add_gemm(DType::bf16, 16, 1024, 1024, 4.0);
  table.finish(gpu);
  GemmShape shape = gemm(16, 1024, 1024);
  shape.dtype = DType::fp8;
  EXPECT_FALSE(table.gemm(gpu, shape).has_value());
  shape.dtype = DType::fp16;  // the same kernels
  EXPECT_NEAR(table.gemm(gpu, shape)->total, 4.0, 1e-9);
  EXPECT_FALSE(table.decode(gpu, heads(32, 8, true), batch(1, 1024)).has_value());
}

TEST(KernelTable, TakesTheMeanOfRowsMeasuredTwice) {
  const Gpu gpu = paper_gpu();
  KernelTable table;
  for (const double us : {4.0, 9.0}) table.add_gemm(DType::bf16, 16, 1024, 1024, us);
  table.finish(gpu);
  EXPECT_NEAR(table.gemm(gpu, gemm(16, 1024, 1024))->total, 6.0, 1e-9);  // geometric, as utilisations go
}

TEST(KernelTable, DoesNotDependOnTheOrderOfTheRows) {
  const Gpu gpu = paper_gpu();
  std::mt19937 random(7);
  std::vector<std::array<std::int64_t, 3>> shapes;
  for (std::int64_t m = 1; m <= 1024; m *= 2)
    for (std::int64_t n = 256; n <= 8192; n *= 2)
      for (std::int64_t k = 256; k <= 8192; k *= 2) shapes.push_back({m, n, k});
  const auto table_of = [&] {
    KernelTable table;
    for (const auto& [m, n, k] : shapes)
      table.add_gemm(DType::bf16, m, n, k, 20.0 + double((m * 31 + n * 7 + k) % 50));
    table.finish(gpu);
    return table;
  };
  const KernelTable sorted = table_of();
  std::shuffle(shapes.begin(), shapes.end(), random);
  const KernelTable shuffled = table_of();
  for (int i = 0; i < 200; ++i) {
    const GemmShape shape =
        gemm(1 + int(random() % 1500), 100 + int(random() % 9000), 100 + int(random() % 9000));
    EXPECT_EQ(sorted.gemm(gpu, shape)->total, shuffled.gemm(gpu, shape)->total);
  }
}

// Experts and collectives
// --------------------------------------------------------------------------------------

MoeShape experts(std::int64_t tokens) {
  MoeShape s;
  s.tokens = tokens, s.hidden = 2048, s.expert_width = 768, s.experts = 128, s.top_k = 8;
  return s;
}

TEST(KernelTable, InterpolatesExpertsBetweenTokenCountsOfOneLayer) {
  const Gpu gpu = load_gpu("h100-sxm");
  KernelTable table;
  for (const std::int64_t tokens : {64, 1024})
    table.add_moe(experts(tokens), moe_time(gpu, experts(tokens)).total / (tokens == 64 ? 0.5 : 1.0));
  table.finish(gpu);
  EXPECT_NEAR(table.moe(gpu, experts(64))->total, 2 * moe_time(gpu, experts(64)).total, 1e-9);
  // Half way in octaves, half way in ln u.
  EXPECT_NEAR(table.moe(gpu, experts(256))->total, moe_time(gpu, experts(256)).total / std::sqrt(0.5), 1e-6);
  EXPECT_TRUE(table.moe(gpu, experts(256))->in_range);
  EXPECT_FALSE(table.moe(gpu, experts(4096))->in_range);
  EXPECT_NEAR(table.moe(gpu, experts(4096))->total, moe_time(gpu, experts(4096)).total, 1e-6);
  MoeShape split = experts(64);
  split.ep = 2;
  EXPECT_FALSE(table.moe(gpu, split).has_value());
}

TEST(KernelTable, KeepsCollectivesOfDifferentGroupsApart) {
  const Gpu gpu = load_gpu("h100-sxm");
  KernelTable table;
  table.add_collective(Collective::all_reduce, 8, 1e6, DType::fp16, 50);
  table.add_all_reduce(8, 1e6, true, 20);
  table.finish(gpu);
  EXPECT_NEAR(table.collective(gpu, Collective::all_reduce, 8, 1e6, DType::bf16)->total, 50, 1e-9);
  EXPECT_NEAR(table.all_reduce(gpu, 8, 1e6, true)->total, 20, 1e-9);
  EXPECT_FALSE(table.collective(gpu, Collective::all_gather, 8, 1e6, DType::fp16).has_value());
  EXPECT_FALSE(table.collective(gpu, Collective::all_reduce, 4, 1e6, DType::fp16).has_value());
  EXPECT_FALSE(table.collective(gpu, Collective::all_reduce, 8, 1e6, DType::int8).has_value());
  EXPECT_FALSE(table.all_reduce(gpu, 8, 1e6, false).has_value());
  // Never faster than the links, whatever was measured.
  KernelTable wrong;
  wrong.add_all_reduce(8, 1e9, true, 0.001);
  wrong.finish(gpu);
  EXPECT_GE(wrong.all_reduce(gpu, 8, 1e9, true)->total,
            collective_floor_us(gpu, Collective::all_reduce, 8, 1e9));
}

TEST(MeasuredRows, FindsTheNearestRowsOfAll) {
  // Against looking at every row: outside the grid the answer is the weighted mean of the 16 nearest.
  std::mt19937 random(3);
  std::uniform_real_distribution<double> place(0, 10), height(-1, 1);
  std::vector<std::pair<MeasuredRows::Point, double>> all;
  MeasuredRows rows;
  for (int i = 0; i < 2000; ++i) {
    all.push_back({{place(random), place(random), place(random), place(random)}, height(random)});
    rows.add(all.back().first, all.back().second);
  }
  rows.finish();
  for (int i = 0; i < 100; ++i) {
    const MeasuredRows::Point at{place(random) - 1, place(random) + 1, place(random), place(random)};
    const auto distance = [&](const MeasuredRows::Point& p) {
      double sum = 0;
      for (std::size_t d = 0; d < p.size(); ++d) sum += (p[d] - at[d]) * (p[d] - at[d]);
      return std::sqrt(sum);
    };
    std::sort(all.begin(), all.end(),
              [&](const auto& a, const auto& b) { return distance(a.first) < distance(b.first); });
    double sum = 0, weights = 0;
    for (int j = 0; j < 16; ++j) {
      const double w = 1 / std::pow(distance(all[j].first) + 1e-3, 2);
      sum += w * all[j].second, weights += w;
    }
    EXPECT_NEAR(rows.log_utilisation(at, false), sum / weights, 1e-9);
  }
}

// Attention ------------------------------------------------------------------------------------------------

TEST(KernelTable, GivesMeasuredAttentionItsMeasuredTime) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  KernelTable table;
  table.add_decode(heads(32, 8, true), 8, 1024, 61.0);
  table.add_prefill(heads(32, 8, true), 2, 4096, 1900.0);
  table.finish(gpu);
  EXPECT_NEAR(table.decode(gpu, heads(32, 8, true), batch(8, 1024))->total, 61.0, 1e-9);
  const std::vector<PrefillChunk> chunks(2, {4096, 0});
  EXPECT_NEAR(table.prefill(gpu, heads(32, 8, true), chunks)->total, 1900.0, 1e-9);
}

TEST(KernelTable, AnswersOnlyForLayersItHolds) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  KernelTable table;
  table.add_decode(heads(32, 8, true), 8, 1024, 61.0);
  table.finish(gpu);
  const auto answers = [&](const Gpu& card, const std::function<void(AttentionShape&)>& change) {
    AttentionShape shape = heads(32, 8, true);
    change(shape);
    return table.decode(card, shape, batch(8, 1024)).has_value();
  };
  EXPECT_TRUE(answers(gpu, [](AttentionShape&) {}));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.q_heads = 64; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.kv_heads = 4; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.head_dim = s.v_head_dim = 64; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.v_head_dim = 64; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.window = 512; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.kv_dtype = DType::fp8; }));
  Gpu other = gpu;
  other.kernels->attention.kernel = "fa3";
  EXPECT_FALSE(answers(other, [](AttentionShape&) {}));
}

TEST(KernelTable, TakesServingDecodesOnlyFromRowsWithColdKv) {
  const Gpu gpu = load_gpu("a100-sxm-80g");  // 40 MiB of L2: cold from 63 MB on
  const AttentionShape replayed = heads(32, 8, true), serving = heads(32, 8, false);
  const double token_bytes = 2 * 8 * 128 * 2.0;
  const auto is_cold = [&](std::int64_t n, std::int64_t context) {
    return double(n * context) * token_bytes >= 1.5 * double(gpu.l2_bytes.value);
  };
  KernelTable table;
  for (std::int64_t n = 1; n <= 256; n *= 2)
    for (std::int64_t context = 64; context <= 16384; context *= 2)
      table.add_decode(
          replayed, n, context,
          decode_attention_time(gpu, replayed, batch(n, context)).total / (is_cold(n, context) ? 0.8 : 4.0));
  table.finish(gpu);

  ASSERT_FALSE(is_cold(8, 1000));
  EXPECT_FALSE(table.decode(gpu, serving, batch(8, 1000)).has_value());
  EXPECT_TRUE(table.decode(gpu, replayed, batch(8, 1000)).has_value());  // validation asks for the row itself

  ASSERT_TRUE(is_cold(8, 2000));
  const OpTime time = *table.decode(gpu, serving, batch(8, 2000));  // warm rows lie within one octave
  EXPECT_NEAR(time.total, decode_attention_time(gpu, serving, batch(8, 2000)).total / 0.8, 1e-6 * time.total);
  EXPECT_TRUE(time.in_range);
}

TEST(KernelTable, ScalesWhatUnequalContextsCostWithTheRest) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  const AttentionShape serving = heads(32, 8, false);
  KernelTable table;
  table.add_decode(serving, 64, 4096,
                   2 * decode_attention_time(gpu, heads(32, 8, true), batch(64, 4096)).total);
  table.finish(gpu);
  std::vector<std::int32_t> lengths(64, 3072);
  std::fill(lengths.begin(), lengths.begin() + 4, 20480);
  DecodeBatch uneven = batch(64, 4096);
  uneven.longest = lengths;
  const double closed = decode_attention_time(gpu, serving, uneven).total;
  ASSERT_NE(closed, decode_attention_time(gpu, serving, batch(64, 4096)).total);
  EXPECT_NEAR(table.decode(gpu, serving, uneven)->total, 2 * closed, 1e-6 * closed);
}

TEST(KernelTable, PricesPromptsOfUnequalLengthButNoneWithHistory) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  const AttentionShape shape = heads(32, 8, true);
  KernelTable table;
  for (std::int64_t tokens = 512; tokens <= 8192; tokens *= 2)
    for (const std::int64_t sequences : {1, 2, 4}) {
      const std::vector<PrefillChunk> chunks(std::size_t(sequences), {tokens, 0});
      table.add_prefill(shape, sequences, tokens, prefill_attention_time(gpu, shape, chunks).total / 0.7);
    }
  table.finish(gpu);
  const std::vector<PrefillChunk> uneven{{1000, 0}, {3000, 0}}, later{{1000, 0}, {3000, 16}};
  const OpTime time = *table.prefill(gpu, shape, uneven);
  EXPECT_NEAR(time.total, prefill_attention_time(gpu, shape, uneven).total / 0.7, 1e-6 * time.total);
  EXPECT_TRUE(time.in_range);
  EXPECT_FALSE(table.prefill(gpu, shape, later).has_value());
  EXPECT_FALSE(table.prefill(gpu, shape, {}).has_value());
}

// Held-out rows of the public tables -----------------------------------------------------------------------

struct Card {
  const char* gpu;
  const char* files;
  double rows, columns;    // median error budgets in percent, GEMM: held-out rows, held-out (n, k)
  double decode, prefill;  // attention, held-out rows
};

void PrintTo(const Card& card, std::ostream* out) { *out << card.gpu; }

class KernelTableHeldOut : public testing::TestWithParam<Card> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(path("gemm"))) GTEST_SKIP() << "no measured tables in " TESSERA_SHARED_DATA;
    gpu_ = load_gpu(GetParam().gpu);
    gpu_.kernels->sustained_clock_fraction = 1;
  }
  static std::string path(const std::string& kind) {
    return std::string(TESSERA_SHARED_DATA "/silicon/aic/") + GetParam().files + "_" + kind + ".csv.gz";
  }
  // Rows kept by `use` go into the table or, every eighth of the held-out ones, are asked for.
  static double median_error(const std::string& kind, const std::function<bool(const Row&)>& use,
                             const std::function<std::string(const Row&)>& key,
                             const std::function<void(KernelTable&, const Row&)>& add,
                             const std::function<std::optional<OpTime>(const KernelTable&, const Row&)>& ask,
                             const Gpu& gpu) {
    const MeasurementTable data = MeasurementTable::load(path(kind));
    KernelTable table;
    std::vector<Row> held_out;
    for (std::size_t i = 0; i < data.size(); ++i) {
      const Row row = data.row(i);
      if (row.flagged() || !use(row)) continue;
      if (!is_held_out(key(row)))
        add(table, row);
      else
        held_out.push_back(row);
    }
    EXPECT_GT(held_out.size(), 1000u);
    table.finish(gpu);
    std::vector<double> ratios;
    for (std::size_t i = 0; i < held_out.size(); i += 8)
      if (const auto time = ask(table, held_out[i])) ratios.push_back(time->total / held_out[i].latency_us());
    EXPECT_GT(ratios.size(), held_out.size() / 9);
    const ErrorSummary summary = summarise(ratios);
    RecordProperty(kind, std::to_string(summary.median_ape));
    return summary.median_ape;
  }
  [[nodiscard]] double gemm_error(bool whole_columns) const {
    const auto shape = [](const Row& r) { return gemm(r.integer("m"), r.integer("n"), r.integer("k")); };
    return median_error(
        "gemm", [](const Row& r) { return r.text("gemm_dtype") == "bfloat16"; },
        [&](const Row& r) {
          const std::string column = std::string(r.text("n")) + " " + std::string(r.text("k"));
          return whole_columns ? column : std::string(r.text("m")) + " " + column;
        },
        [&](KernelTable& t, const Row& r) {
          const GemmShape s = shape(r);
          t.add_gemm(s.dtype, s.m, s.n, s.k, r.latency_us());
        },
        [&](const KernelTable& t, const Row& r) { return t.gemm(gpu_, shape(r)); }, gpu_);
  }
  [[nodiscard]] double attention_error(bool prefill) const {
    const auto shape = [](const Row& r) {
      AttentionShape s = heads(int(r.integer("num_heads")), int(r.integer("num_key_value_heads")), true);
      s.head_dim = s.v_head_dim = int(r.integer("head_dim"));
      return s;
    };
    const auto tokens = [prefill](const Row& r) {
      return prefill ? r.integer("isl_tokens") : r.integer("past_kv_tokens") + 1;
    };
    return median_error(
        prefill ? "context_attention" : "generation_attention",
        [](const Row& r) {
          return r.text("kv_cache_dtype") == "bfloat16" && r.text("head_dim") == "128" &&
                 r.text("window_size_tokens") == "0";
        },
        [&](const Row& r) {
          return std::string(r.text("num_heads")) + " " + std::string(r.text("num_key_value_heads")) + " " +
                 std::string(r.text("batch_size")) + " " + std::to_string(tokens(r));
        },
        [&](KernelTable& t, const Row& r) {
          if (prefill)
            t.add_prefill(shape(r), r.integer("batch_size"), tokens(r), r.latency_us());
          else
            t.add_decode(shape(r), r.integer("batch_size"), tokens(r), r.latency_us());
        },
        [&](const KernelTable& t, const Row& r) -> std::optional<OpTime> {
          if (!prefill) return t.decode(gpu_, shape(r), batch(r.integer("batch_size"), tokens(r)));
          const std::vector<PrefillChunk> chunks(std::size_t(r.integer("batch_size")), {tokens(r), 0});
          return t.prefill(gpu_, shape(r), chunks);
        },
        gpu_);
  }
  Gpu gpu_;
};

TEST_P(KernelTableHeldOut, GemmRowsAreNear) { EXPECT_LT(gemm_error(false), GetParam().rows); }
TEST_P(KernelTableHeldOut, GemmsOfUnseenWeightsAreNear) { EXPECT_LT(gemm_error(true), GetParam().columns); }
TEST_P(KernelTableHeldOut, DecodeAttentionIsNear) { EXPECT_LT(attention_error(false), GetParam().decode); }
TEST_P(KernelTableHeldOut, PrefillAttentionIsNear) { EXPECT_LT(attention_error(true), GetParam().prefill); }

INSTANTIATE_TEST_SUITE_P(Cards, KernelTableHeldOut,
                         testing::Values(Card{"h100-sxm", "h100_sxm_vllm-0.24.0", 3.3, 3.3, 1.9, 2.4},
                                         Card{"a100-sxm-80g", "a100_sxm_vllm-0.14.0", 4.1, 4.8, 1.5, 1.8},
                                         Card{"l40s", "l40s_vllm-0.24.0", 4.6, 5.8, 1.7, 2.6},
                                         Card{"rtx-pro-6000", "rtx_pro_6000_server_vllm-0.24.0", 2.8, 4.4,
                                              2.0, 1.3}));

}  // namespace
}  // namespace tessera
