// What the pricer remembers against what the operators answer directly.
#include "sim/serving/step_pricer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/base/units.hpp"
#include "sim/engine/random.hpp"
#include "sim/serving/roofline_operators.hpp"

namespace tessera {
namespace {

struct Bed {
  Bed(const char* card, const char* model_name, const char* engine_name)
      : gpu(load_gpu(card)),
        rank(partition(load_model(model_name), {}, DType::bf16)),
        engine(load_engine_profile(engine_name)),
        direct(roofline_operators(gpu, rank, engine, 16)),
        pricer(roofline_operators(gpu, rank, engine, 16)) {}

  // The sum of the operators of a step, nothing remembered.
  double direct_us(const StepShape& shape) {
    const bool prefill = !shape.chunks.empty();
    StepTerms terms = direct->dense(direct->padded_tokens(shape.tokens(), prefill), prefill);
    terms.add(direct->head(shape.sampled), 1);
    double us = std::accumulate(terms.part.begin(), terms.part.end(), 0.0);
    DecodeBatch batch;
    batch.sequences = shape.decodes;
    batch.kv_tokens = shape.decode_kv[0];
    batch.longest = shape.lengths;
    batch.offset = shape.offset;
    if (!prefill) return us + direct->decode_attention(0, batch).total;
    if (shape.decodes == 0) return us + direct->prefill_attention(0, shape.chunks).total;
    if (direct->one_kernel_for_mixed()) return us + direct->mixed_attention(0, batch, shape.chunks).total;
    return us + direct->decode_attention(0, batch).total + direct->prefill_attention(0, shape.chunks).total;
  }

  Gpu gpu;
  RankModel rank;
  EngineProfile engine;
  std::unique_ptr<StepOperators> direct;
  StepPricer pricer;
};

class PricerError : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(PricerError, IsSmallOverRandomSteps) {
  const auto [card, engine] = GetParam();
  Bed bed(card, "llama-3.1-8b", engine);
  sim::RandomStream random(7, 0);
  std::vector<double> errors;
  for (int trial = 0; trial < 400; ++trial) {
    std::vector<std::int32_t> lengths(random() % 120);
    const auto typical = 100 + static_cast<std::int32_t>(random() % 4000);
    StepShape shape;
    for (std::int32_t& length : lengths) {
      length = 1 + static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(2 * typical));
      shape.decode_kv[0] += length;
    }
    std::sort(lengths.rbegin(), lengths.rend());
    std::vector<PrefillChunk> chunks;
    for (std::uint64_t i = random() % 3; i > 0; --i)
      chunks.push_back({1 + static_cast<std::int64_t>(random() % 600),
                        static_cast<std::int64_t>(random() % 3 == 0 ? 0 : random() % 8000)});
    if (lengths.empty() && chunks.empty()) continue;
    shape.decodes = static_cast<std::int64_t>(lengths.size());
    shape.lengths = lengths;
    shape.chunks = chunks;
    for (const PrefillChunk& chunk : chunks) shape.prefill_tokens += chunk.tokens;
    shape.sampled = shape.decodes + static_cast<std::int64_t>(chunks.size());
    const double ours = static_cast<double>(bed.pricer.price(shape).base_ps) * 1e-6;
    errors.push_back(std::abs(ours / bed.direct_us(shape) - 1));
  }
  ASSERT_GT(errors.size(), 300u);
  std::sort(errors.begin(), errors.end());
  const double median = errors[errors.size() / 2], p99 = errors[errors.size() * 99 / 100];
  std::printf("[ measured ] %s %s: memo against direct, median %.2f %%, p99 %.2f %%\n", card, engine,
              100 * median, 100 * p99);
  EXPECT_LT(median, 0.003);
  EXPECT_LT(p99, 0.05) << "where a batch of some thirty sequences changes its number of KV splits";
}

INSTANTIATE_TEST_SUITE_P(CardsAndEngines, PricerError,
                         ::testing::Values(std::tuple{"a100-sxm-80g", "sarathi"},
                                           std::tuple{"h100-sxm", "vllm-0.19"},
                                           std::tuple{"rtx-pro-6000", "vllm-0.19"},
                                           std::tuple{"rtx-4090", "vllm-0.6"}));

TEST(StepPricer, ARunOfDecodeStepsIsPricedAsItsStepsWouldBe) {
  Bed bed("h100-sxm", "llama-3.1-8b", "vllm-0.19");
  const std::vector<std::int32_t> lengths(40, 700);
  StepShape shape;
  shape.decodes = 40;
  shape.lengths = lengths;
  shape.sampled = 40;
  shape.decode_kv[0] = 40 * 700;
  const StepPrice first = bed.pricer.price(shape);
  ASSERT_GT(first.valid_steps, 10);
  EXPECT_GT(first.slope_ps, 0);
  for (std::int64_t step = 1; step < first.valid_steps; step += 9) {
    shape.decode_kv[0] = 40 * (700 + step);
    shape.offset = step;
    const StepPrice there = bed.pricer.price(shape);
    EXPECT_NEAR(static_cast<double>(first.base_ps + step * first.slope_ps),
                static_cast<double>(there.base_ps), 1e-3 * static_cast<double>(there.base_ps));
  }
}

TEST(StepPricer, NoStepBeatsPhysicsOnAnyCard) {
  for (const std::string& card : config_names("gpus")) {
    Bed bed(card.c_str(), "llama-3.1-8b", "ideal");
    const double weights = static_cast<double>(bed.rank.weight_bytes());
    for (const std::int64_t n : {1, 7, 64, 256})
      for (const std::int64_t context : {16, 900, 16000}) {
        const std::vector<std::int32_t> lengths(static_cast<std::size_t>(n),
                                                static_cast<std::int32_t>(context));
        StepShape shape;
        shape.decodes = shape.sampled = n;
        shape.lengths = lengths;
        shape.decode_kv[0] = n * context;
        const double us = static_cast<double>(bed.pricer.price(shape).base_ps) * 1e-6;
        const double embedding = 128256.0 * 4096 * 2;  // of which a step reads a few rows
        const double bytes =
            weights - embedding + static_cast<double>(bed.rank.kv.bytes_per_token() * n * context);
        const double flops = 2.0 * static_cast<double>(n) * (weights - 2 * embedding) / 2;
        EXPECT_GE(us, bytes / bed.gpu.hbm_bytes_per_us()) << card << ' ' << n << ' ' << context;
        EXPECT_GE(us, flops / bed.gpu.peak_flops(DType::bf16) * 1e6) << card << ' ' << n << ' ' << context;
      }
  }
}

}  // namespace
}  // namespace tessera
