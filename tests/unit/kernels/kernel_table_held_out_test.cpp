// The `table` source on held-out rows of the public tables.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/unit/kernels/kernel_table_shapes.hpp"
#include "validation/measurement.hpp"
#include "validation/statistics.hpp"

namespace tessera {
namespace {

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
