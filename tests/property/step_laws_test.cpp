// A step that has more to do does not take less time: laws of the priced step over calibrated cards, engines
// and models. Tiles and splits are chosen by the kernel libraries' own rules, in whole numbers, so that one
// more row, or a longer chunk, can find a better choice and cost a little less: by kChoice of the step at
// most.
#include <gtest/gtest.h>

#include "sim/serving/roofline_operators.hpp"
#include "sim/serving/step_pricer.hpp"

namespace tessera {
namespace {

constexpr double kChoice = 0.005;

struct Bench {
  Bench(const char* card, const char* name, const char* engine_name)
      : gpu(load_gpu(card)),
        model(load_model(name)),
        rank(partition(model, {}, resolve_kv_precision(model, "auto"))),
        engine(load_engine_profile(engine_name)),
        pricer(roofline_operators(gpu, rank, engine, 16)) {}

  // `batch` decodes of equal contexts beside one chunk of a prompt.
  double us(std::int64_t batch, std::int64_t context, PrefillChunk chunk = {0, 0}) {
    StepShape shape;
    shape.decodes = batch;
    shape.sampled = std::max<std::int64_t>(1, batch);
    const std::vector<std::int32_t> lengths(static_cast<std::size_t>(batch),
                                            static_cast<std::int32_t>(context));
    shape.lengths = lengths;
    shape.decode_kv[0] = batch * context;
    for (std::size_t i = 0; i < pricer.windows().size(); ++i)
      shape.decode_kv[i + 1] = batch * std::min(context, pricer.windows()[i]);
    const std::vector<PrefillChunk> chunks(chunk.tokens > 0 ? 1 : 0, chunk);
    shape.chunks = chunks;
    shape.prefill_tokens = chunk.tokens;
    return static_cast<double>(pricer.price(shape).base_ps) * 1e-6;
  }

  Gpu gpu;
  Model model;
  RankModel rank;
  EngineProfile engine;
  StepPricer pricer;
};

struct Combination {
  const char *card, *model, *engine;
};
std::vector<Combination> combinations() {
  std::vector<Combination> all;
  for (const char* card : {"h100-sxm", "a100-sxm-80g", "l40s"})
    for (const char* model : {"llama-3.1-8b", "gemma-3-27b", "gpt-oss-20b", "deepseek-v2-lite", "jamba-v0.1"})
      for (const char* engine : {"vllm-0.19", "sarathi", "ideal"}) all.push_back({card, model, engine});
  return all;
}

// The grid is dense where sizes are small: every doubling in eight steps.
std::vector<std::int64_t> grid(std::int64_t last) {
  std::vector<std::int64_t> values;
  for (std::int64_t n = 1; n <= last; n += std::max<std::int64_t>(1, n / 8)) values.push_back(n);
  return values;
}

template <class Price>
void expect_rising(const char* what, const Combination& c, std::int64_t last, double give,
                   const Price& price) {
  double before = 0, worst = 0;
  std::int64_t at = 0;
  for (const std::int64_t n : grid(last)) {
    const double us = price(n);
    if (before > 0 && us / before - 1 < worst) worst = us / before - 1, at = n;
    before = us;
  }
  EXPECT_GE(worst, -give) << what << " on " << c.card << ", " << c.model << ", " << c.engine << " at " << at;
}

TEST(StepLaws, LongerContextsAreNeverCheaper) {
  for (const Combination& c : combinations()) {
    Bench bench(c.card, c.model, c.engine);
    for (const std::int64_t batch : {1, 8, 100})
      expect_rising("context", c, 100'000, 0, [&](std::int64_t n) { return bench.us(batch, n); });
  }
}

TEST(StepLaws, MoreDecodesAreNoCheaper) {
  for (const Combination& c : combinations()) {
    Bench bench(c.card, c.model, c.engine);
    for (const std::int64_t context : {10, 1000, 20'000})
      expect_rising("batch", c, 500, kChoice, [&](std::int64_t n) { return bench.us(n, context); });
  }
}

TEST(StepLaws, LongerChunksAreNoCheaper) {
  for (const Combination& c : combinations()) {
    Bench bench(c.card, c.model, c.engine);
    for (const std::int64_t history : {0, 5000})
      expect_rising("chunk", c, 8192, kChoice, [&](std::int64_t n) {
        return bench.us(4, 500, {n, history});
      });
  }
}

TEST(StepLaws, ALongerHistoryIsNoCheaper) {
  for (const Combination& c : combinations()) {
    Bench bench(c.card, c.model, c.engine);
    expect_rising("history", c, 100'000, kChoice, [&](std::int64_t n) { return bench.us(0, 1, {512, n}); });
  }
}

TEST(StepLaws, AStepIsNoCheaperThanAPartOfIt) {
  for (const Combination& c : combinations()) {
    Bench bench(c.card, c.model, c.engine);
    const double together = bench.us(64, 4000, {512, 0});
    EXPECT_GE(together, bench.us(64, 4000)) << c.card << ' ' << c.model << ' ' << c.engine;
    EXPECT_GE(together, bench.us(0, 1, {512, 0})) << c.card << ' ' << c.model << ' ' << c.engine;
  }
}

}  // namespace
}  // namespace tessera
