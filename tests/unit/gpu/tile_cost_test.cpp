// The tile source of a serving run: how far the table is from simulating each batch.
#include "sim/gpu/tile_cost.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace tessera {
namespace {

AttentionShape llama() {
  AttentionShape s;
  s.q_heads = 32, s.kv_heads = 8;
  return s;
}

struct Batch {
  std::vector<std::int32_t> lengths;  // longest first
  std::vector<PrefillChunk> chunks;
  [[nodiscard]] DecodeBatch decodes() const {
    DecodeBatch d;
    d.sequences = static_cast<std::int64_t>(lengths.size());
    for (const std::int32_t l : lengths) d.kv_tokens += l;
    d.longest = lengths;
    return d;
  }
};

// Lengths as chat traffic has them: log-normal about `median`.
Batch sampled(std::mt19937& random, std::size_t decodes, double median, std::size_t chunks) {
  Batch b;
  std::normal_distribution<double> normal;
  for (std::size_t i = 0; i < decodes; ++i)
    b.lengths.push_back(
        static_cast<std::int32_t>(std::clamp(median * std::exp(0.8 * normal(random)), 1.0, 16000.0)));
  std::sort(b.lengths.rbegin(), b.lengths.rend());
  for (std::size_t i = 0; i < chunks; ++i)
    b.chunks.push_back({16 + static_cast<std::int64_t>(random() % 500),
                        static_cast<std::int64_t>(random() % 3 == 0 ? random() % 3000 : 0)});
  return b;
}

double quantile(std::vector<double> v, double q) {
  std::sort(v.begin(), v.end());
  return v[static_cast<std::size_t>(q * static_cast<double>(v.size() - 1))];
}

// Absolute errors in percent over `batches`, table against direct simulation.
std::vector<double> errors(const Gpu& gpu, const std::vector<Batch>& batches) {
  TileCost cost(gpu);
  std::vector<double> result;
  for (const Batch& b : batches) {
    const double table = cost.attention(llama(), b.decodes(), b.chunks).total;
    const double direct = cost.simulate(llama(), b.decodes(), b.chunks).total;
    result.push_back(100 * std::abs(table / direct - 1));
  }
  return result;
}

class TileTable : public testing::TestWithParam<const char*> {};

TEST_P(TileTable, RaggedDecodesAreWithinFourPercentOfDirectSimulation) {
  const Gpu gpu = load_gpu(GetParam());
  std::mt19937 random(3);
  std::vector<Batch> batches;
  for (int i = 0; i < 60; ++i)
    batches.push_back(sampled(random, 2 + random() % 127, 200.0 + static_cast<double>(random() % 1500), 0));
  const std::vector<double> e = errors(gpu, batches);
  std::printf("[ measured ] %s ragged decodes: median %.1f %%, p90 %.1f %%\n", GetParam(), quantile(e, 0.5),
              quantile(e, 0.9));
  EXPECT_LT(quantile(e, 0.5), 4);
  EXPECT_LT(quantile(e, 0.9), 12);
}

TEST_P(TileTable, MixedBatchesAreWithinSixPercentOfDirectSimulation) {
  const Gpu gpu = load_gpu(GetParam());
  std::mt19937 random(5);
  std::vector<Batch> batches;
  for (int i = 0; i < 24; ++i)
    batches.push_back(
        sampled(random, 1 + random() % 100, 200.0 + static_cast<double>(random() % 1500), 1 + random() % 3));
  const std::vector<double> e = errors(gpu, batches);
  std::printf("[ measured ] %s mixed batches: median %.1f %%, p90 %.1f %%\n", GetParam(), quantile(e, 0.5),
              quantile(e, 0.9));
  EXPECT_LT(quantile(e, 0.5), 6);
  EXPECT_LT(quantile(e, 0.9), 20);
}

INSTANTIATE_TEST_SUITE_P(Cards, TileTable, testing::Values("rtx-pro-6000", "h100-sxm"),
                         [](const auto& card) { return std::string(card.param).substr(0, 3); });

TEST(TileCost, EqualDecodesAndSingleChunksAreSimulatedAsAsked) {
  const Gpu gpu = load_gpu("h100-sxm");
  TileCost cost(gpu);
  DecodeBatch even;
  even.sequences = 40, even.kv_tokens = 40 * 900;
  EXPECT_EQ(cost.attention(llama(), even, {}).total, cost.simulate(llama(), even, {}).total);
  const std::vector<PrefillChunk> one = {{300, 1000}};
  EXPECT_EQ(cost.attention(llama(), {}, one).total, cost.simulate(llama(), {}, one).total);
  EXPECT_EQ(cost.cells(), 0u);
}

TEST(TileCost, UnequalLengthsTakeLongerThanEqualOnes) {
  const Gpu gpu = load_gpu("l40s");
  TileCost cost(gpu);
  Batch b;
  b.lengths.assign(64, 500);
  b.lengths.front() = 40000;
  DecodeBatch even = b.decodes();
  even.longest = {};
  EXPECT_GT(cost.simulate(llama(), b.decodes(), {}).total, 1.1 * cost.simulate(llama(), even, {}).total);
}

// Chat traffic under continuous batching: one long context says nothing about the others. (Where the keys of
// one head are about as large as L2 a cell's centre may lie beyond them: up to 16 % on an L40S.)
TEST(TileCost, OneLongContextAmongModerateOnesInAMixedBatch) {
  for (const char* card : {"rtx-pro-6000", "l40s", "a100-sxm-80g"}) {
    const Gpu gpu = load_gpu(card);
    std::mt19937 random(9);
    std::normal_distribution<double> normal;
    double sum = 0;
    for (int trial = 0; trial < 8; ++trial) {
      Batch b;
      for (int i = 0; i < 127; ++i)
        b.lengths.push_back(static_cast<std::int32_t>(900 * std::exp(0.35 * normal(random))));
      b.lengths.push_back(4000);
      std::sort(b.lengths.rbegin(), b.lengths.rend());
      b.chunks = {{100 + 200 * trial, 0}};
      sum += errors(gpu, {b})[0];
    }
    EXPECT_LT(sum / 8, 4) << card;
  }
}

TEST(TileCost, ACellIsFilledOnce) {
  const Gpu gpu = load_gpu("h100-sxm");
  TileCost cost(gpu);
  Batch b;
  b.lengths = {900, 700, 300};
  const double first = cost.attention(llama(), b.decodes(), {}).total;
  EXPECT_EQ(cost.cells(), 1u);
  EXPECT_EQ(cost.attention(llama(), b.decodes(), {}).total, first);
  EXPECT_EQ(cost.cells(), 1u);
}

}  // namespace
}  // namespace tessera
