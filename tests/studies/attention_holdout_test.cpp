// Simulated attention where its parameters have not looked: lengths, batches and head counts left out of the
// fit, and cards whose figures come from another card's by published numbers, raw and after 60 rows.
// Minutes, so disabled here and run by tests/scripts/holdouts_test.sh.
// A fit starts from the shipped values, which have seen one half of all shapes; the optimiser moves on from
// there by the rows it is given alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <ostream>

#include "models/hardware/rescale.hpp"
#include "tests/support/run_data.hpp"
#include "validation/kernels.hpp"
#include "validation/statistics.hpp"

namespace tessera {
namespace {

constexpr std::size_t kTested = 800;   // rows of each phase
constexpr std::size_t kTrained = 250;  // likewise; more move the figures by a few tenths
constexpr std::array kPhases = {"generation_attention", "context_attention"};

struct Card {
  const char* name;
  const char* tables;
};
constexpr Card kA100{"a100-sxm-80g", "silicon/aic/a100_sxm_vllm-0.14.0_"},
    kH100{"h100-sxm", "silicon/aic/h100_sxm_vllm-0.24.0_"},
    kH200{"h200-sxm", "silicon/aic/h200_sxm_vllm-0.24.0_"}, kL40s{"l40s", "silicon/aic/l40s_vllm-0.24.0_"},
    kPro{"rtx-pro-6000", "silicon/aic/rtx_pro_6000_server_vllm-0.24.0_"};

// Decode and prefill rows of a card, bf16.
struct Rows {
  explicit Rows(const Card& card) {
    for (const char* phase : kPhases)
      tables.push_back(
          MeasurementTable::load(test::shared_data(card.tables + std::string(phase) + ".csv.gz")));
  }
  // f(phase, row)
  template <class F>
  void for_each(F&& f) const {
    for (std::size_t phase = 0; phase < tables.size(); ++phase) {
      const KernelValidator& kernel = kernel_validator(kPhases[phase], Cost::tile);
      for (std::size_t i = 0; i < tables[phase].size(); ++i) {
        const Row row = tables[phase].row(i);
        if (!row.flagged() && kernel.covers(row) && row.text("kv_cache_dtype") != "fp8") f(phase, row);
      }
    }
  }
  std::vector<MeasurementTable> tables;
};

std::vector<Row> thinned(const std::vector<Row>& rows, std::size_t most) {
  std::vector<Row> some;
  const std::size_t stride = std::max<std::size_t>(1, rows.size() / most);
  for (std::size_t i = 0; i < rows.size(); i += stride) some.push_back(rows[i]);
  return some;
}

// The phases' errors on these rows; a prompt of one token is a decode.
std::array<ErrorSummary, 2> errors_on(const Gpu& gpu, const std::vector<Row>& decodes,
                                      const std::vector<Row>& prefills) {
  std::array<ErrorSummary, 2> errors;
  for (const std::size_t phase : {0u, 1u}) {
    std::vector<double> ratios;
    for (const Row& row : thinned(phase == 0 ? decodes : prefills, kTested))
      ratios.push_back(kernel_validator(kPhases[phase], Cost::tile).predict(gpu, row).total /
                       row.latency_us());
    errors[phase] = summarise(ratios);
  }
  return errors;
}

void print(const char* card, const char* what, const std::array<ErrorSummary, 2>& e) {
  std::printf("[ measured ] %s, %s: decode %.1f / %.1f (%+.1f), prefill %.1f / %.1f (%+.1f) %%\n", card, what,
              e[0].median_ape, e[0].p90_ape, e[0].bias, e[1].median_ape, e[1].p90_ape, e[1].bias);
  std::fflush(stdout);
}

Gpu idle(const Card& card) {
  Gpu gpu = load_gpu(card.name);
  gpu.kernels->sustained_clock_fraction = 1;
  return gpu;
}

void calibrate_on(Gpu& gpu, const std::vector<Row>& rows, bool prior) {
  kernel_validator(kPhases[0], Cost::tile).calibrate(gpu, rows, {.prior = prior, .light = true});
}

struct Subset {
  const char* name;
  bool (*trained)(const Row&);
};
constexpr Subset kSubsets[] = {
    {"unseen lengths (trained on 4,096 tokens and fewer)",
     [](const Row& r) { return r.integer("isl_tokens") <= 4096 && r.integer("past_kv_tokens") < 4096; }},
    {"unseen batches (trained on 32 and fewer)", [](const Row& r) { return r.integer("batch_size") <= 32; }},
    {"unseen heads (trained on 1, 4, 8, 16, 32 and 64)",
     [](const Row& r) {
       const std::int64_t heads = r.integer("num_heads");
       return heads == 1 || heads == 4 || heads == 8 || heads == 16 || heads == 32 || heads == 64;
     }},
};

void PrintTo(const Card& card, std::ostream* out) { *out << card.name; }

class AttentionHoldOuts : public ::testing::TestWithParam<Card> {};

TEST_P(AttentionHoldOuts, DISABLED_LengthsBatchesAndHeads) {
  const Card card = GetParam();
  TESSERA_NEED_DATA(std::string(card.tables) + "generation_attention.csv.gz");
  const Rows all(card);
  for (const Subset& subset : kSubsets) {
    std::vector<Row> seen_decodes, seen_prefills, decodes, prefills;
    all.for_each([&](std::size_t, const Row& row) {
      const bool decode = row.integer("isl_tokens") == 1, seen = subset.trained(row);
      (seen ? decode ? seen_decodes : seen_prefills : decode ? decodes : prefills).push_back(row);
    });
    std::vector<Row> trained = thinned(seen_decodes, kTrained);
    for (const Row& row : thinned(seen_prefills, kTrained)) trained.push_back(row);
    ASSERT_GT(decodes.size() + prefills.size(), 500u);
    Gpu gpu = idle(card);
    calibrate_on(gpu, trained, false);
    const auto errors = errors_on(gpu, decodes, prefills);
    print(card.name, subset.name, errors);
    for (const ErrorSummary& e : errors) {
      EXPECT_LE(e.median_ape, 10) << subset.name;
      EXPECT_LE(e.p90_ape, 25) << subset.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cards, AttentionHoldOuts, ::testing::Values(kA100, kL40s, kPro, kH100),
                         [](const auto& card) {
                           std::string name = card.param.name;
                           std::erase(name, '-');
                           return name;
                         });

struct Transfer {
  Card from, to;
};
constexpr Transfer kTransfers[] = {{kH100, kH200}, {kA100, kL40s}, {kA100, kH100}};
constexpr std::size_t kFewRows = 30;  // of each phase

TEST(AttentionTransfer, DISABLED_OtherCardsByPublishedNumbersAndSixtyRows) {
  TESSERA_NEED_DATA("silicon/aic/h200_sxm_vllm-0.24.0_generation_attention.csv.gz");
  for (const Transfer& transfer : kTransfers) {
    const Gpu from = idle(transfer.from);
    Gpu to = idle(transfer.to);
    const std::string kernel = to.kernels->tile.attention.kernel;
    const Rows rows(transfer.to);
    std::vector<Row> decodes, prefills, few_decodes, few_prefills;
    rows.for_each([&](std::size_t phase, const Row& row) {
      const bool decode = row.integer("isl_tokens") == 1;
      if (is_held_out(kernel_validator(kPhases[phase], Cost::tile).shape_key(row)))
        (decode ? decodes : prefills).push_back(row);
      else
        (decode ? few_decodes : few_prefills).push_back(row);
    });
    to.kernels.value = rescaled(*from.kernels, from, to);
    to.kernels->attention.kernel = to.kernels->tile.attention.kernel = kernel;
    const std::string title = std::string(transfer.from.name) + " to " + transfer.to.name;
    print(title.c_str(), "raw", errors_on(to, decodes, prefills));
    std::vector<Row> few = thinned(few_decodes, kFewRows);
    for (const Row& row : thinned(few_prefills, kFewRows)) few.push_back(row);
    calibrate_on(to, few, true);
    const auto errors = errors_on(to, decodes, prefills);
    print(title.c_str(), "60 rows", errors);
    for (const ErrorSummary& e : errors) EXPECT_LE(e.median_ape, 10) << title;
  }
}

}  // namespace
}  // namespace tessera
