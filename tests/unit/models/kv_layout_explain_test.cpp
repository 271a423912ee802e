// `explain kv`: figures, the formula with its numbers, and the text.
#include <gtest/gtest.h>

#include "models/base/error.hpp"
#include "models/transformer/explain_kv.hpp"

namespace tessera {
namespace {

KvExplanation explain(const std::string& model, std::int64_t context, std::int64_t tp = 1,
                      DType kv = DType::bf16) {
  return explain_kv(load_model(model), kv, context, tp);
}
bool says(const KvExplanation& e, const std::string& part) {
  return to_text(e).find(part) != std::string::npos;
}

TEST(ExplainKv, TheFormulaShowsItsNumbers) {
  const KvExplanation e = explain("llama-3.1-70b", 128 * 1024);
  EXPECT_EQ(e.formula, "80 layers x (2 x 8 heads x 128 x 2 B) = 327680 B per token");
  EXPECT_EQ(e.bytes_per_token, 327680);
  EXPECT_EQ(e.bytes_at_context, 40LL << 30);
  EXPECT_EQ(e.state_bytes, 0);
  EXPECT_TRUE(e.warnings.empty());
  EXPECT_TRUE(says(e, "40.00 GiB"));
}

TEST(ExplainKv, ARankIsExplainedAsItIs) {
  const KvExplanation e = explain("llama-3.1-70b", 1000, 8);
  EXPECT_EQ(e.formula, "80 layers x (2 x 1 heads x 128 x 2 B) = 40960 B per token");
  EXPECT_TRUE(says(e, "one of 8 tensor-parallel ranks"));
}

TEST(ExplainKv, GroupsAddUp) {
  for (const char* name : {"gemma-3-27b", "deepseek-v3.2", "gpt-oss-20b", "hunyuan-large", "jamba-v0.1"}) {
    const KvExplanation e = explain(name, 10'000);
    std::int64_t per_token = 0, held = 0, read = 0, state = 0;
    for (const KvExplanation::Group& group : e.per_group) {
      per_token += group.bytes_per_token;
      held += group.bytes_at_context;
      read += group.decode_read_bytes;
      state += group.state_bytes;
    }
    EXPECT_EQ(per_token, e.bytes_per_token) << name;
    EXPECT_EQ(held, e.bytes_at_context) << name;
    EXPECT_EQ(read, e.decode_read_bytes) << name;
    EXPECT_EQ(state, e.state_bytes) << name;
  }
}

TEST(ExplainKv, LatentAndIndexKeysAreTwoTerms) {
  EXPECT_EQ(explain("deepseek-v3.2", 1).formula,
            "61 layers x ((512 + 64) x 2 B) + 61 layers x (128 x 2 B) = 85888 B per token");
  EXPECT_EQ(explain("deepseek-v3.2", 1, 1, DType::fp8).bytes_per_token, 61 * (656 + 132));
  EXPECT_TRUE(says(explain("deepseek-v3.2", 100'000), "of which a step reads"));
}

TEST(ExplainKv, StateIsApartFromTheCache) {
  const KvExplanation e = explain("jamba-v0.1", 256 * 1024);
  EXPECT_EQ(e.bytes_at_context, 4LL << 30);
  EXPECT_EQ(e.state_bytes, 28 * (8192 * 16 + 3 * 8192) * 2);
  EXPECT_TRUE(says(e, "recurrent state"));
  EXPECT_NE(e.formula.find("= 16384 B per token; 28 layers x (8192 heads x 1 x 16 x 2 B"), std::string::npos)
      << e.formula;
}

// What is still known is told apart from bytes: eviction, compression and quantisation each leave less.
TEST(ExplainKv, WhatTheCacheStillKnowsIsItsOwnLedger) {
  const KvExplanation full = explain("llama-3.1-8b", 10'000);
  EXPECT_EQ(full.kept.exact_in_every_layer, 10'000);
  EXPECT_EQ(full.kept.layers_that_see_all, 32);
  EXPECT_EQ(full.kept.fewest_bits, 16);
  EXPECT_FALSE(says(full, "are exact in every layer"));
  const KvExplanation gemma = explain("gemma-3-27b", 10'000);
  EXPECT_EQ(gemma.kept.exact_in_every_layer, 1024);
  EXPECT_EQ(gemma.kept.layers_that_see_all, 10);
  EXPECT_TRUE(says(gemma, "1,024 are exact in every layer; 10 layers see all of them"));
  const KvExplanation v4 = explain("deepseek-v4-pro", 10'000);
  EXPECT_EQ(v4.kept.exact_in_every_layer, 128);
  EXPECT_EQ(v4.kept.layers_that_see_all, 61);                                // as compressed entries
  EXPECT_EQ(explain("deepseek-v3.2", 10'000).kept.layers_that_see_all, 61);  // selecting loses nothing
  const Model llama = load_model("llama-2-7b");
  EXPECT_EQ(explain_kv(llama, parse_kv_precision("kivi-2", DType::bf16), 1000).kept.fewest_bits, 3);
}

TEST(ExplainKv, WritesAndConversionsAreSaid) {
  const KvExplanation e = explain_kv(load_model("llama-2-7b"), parse_kv_precision("int4", DType::bf16), 1000);
  EXPECT_EQ(e.decode_write_bytes, 32 * 2 * 32 * (64 + 4));
  EXPECT_EQ(e.numbers_converted, 1000LL * 32 * 2 * 32 * 128);
  EXPECT_TRUE(says(e, "and converts"));
  EXPECT_FALSE(says(explain("llama-2-7b", 1000), "and converts"));
}

TEST(ExplainKv, EveryRetentionHasItsFormula) {
  const auto formula = [](const RetentionRule& rule) {
    Model model = load_model("llama-2-7b");
    LayerKind& kind = model.kinds[0];
    kind.retention = name_of(rule.kind);
    kind.window = rule.window, kind.sinks = rule.sinks, kind.cascades = rule.cascades;
    return explain_kv(model, DType::bf16, 100).per_group[0].retention_formula;
  };
  EXPECT_EQ(formula({}), "n");
  EXPECT_EQ(formula({.kind = Retention::window, .window = 64}), "min(n, 64)");
  EXPECT_EQ(formula({.kind = Retention::window, .window = 64, .sinks = 4}), "min(n, 4 + 64)");
  EXPECT_EQ(formula({.kind = Retention::chunked, .window = 64}), "(n - 1) mod 64 + 1");
  EXPECT_EQ(explain("deepseek-v4-pro", 100).per_group[1].retention_formula, "floor(n / 4)");
}

TEST(ExplainKv, AStageNamesWhatItCopies) {
  const KvExplanation stage = explain_kv(load_model("hunyuan-large"), DType::bf16, 1, 1, {31, 33});
  EXPECT_EQ(stage.per_group[0].layers_held, 17);
  EXPECT_EQ(stage.per_group[0].layers_copied, 1);
  EXPECT_TRUE(says(stage, "1 copied from other stages"));
}

TEST(ExplainKv, SharedLayersAreNamedAsReaders) {
  EXPECT_TRUE(says(explain("hunyuan-large", 1), "32 layers (read by 64)"));
}

TEST(ExplainKv, AContextBeyondTheModelIsComputedWithAWarning) {
  const KvExplanation e = explain("llama-2-7b", 256 * 1024);
  EXPECT_EQ(e.bytes_at_context, 128LL << 30);
  ASSERT_EQ(e.warnings.size(), 1u);
  EXPECT_NE(e.warnings[0].find("beyond the 4,096 positions"), std::string::npos) << e.warnings[0];
  EXPECT_TRUE(says(e, "warning: "));
}

TEST(ExplainKv, NonsenseIsRefused) {
  EXPECT_THROW(explain("llama-2-7b", -1), InputError);
  EXPECT_THROW(explain("llama-2-7b", 1'000'000'001), InputError);
  EXPECT_THROW(explain("llama-2-7b", 1, 0), InputError);
  EXPECT_THROW(explain("llama-2-7b", 1, 3), InputError);
}

}  // namespace
}  // namespace tessera
