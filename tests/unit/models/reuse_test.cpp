// When stored KV is worth loading: the published formula by hand, and FLOPs of a prefix token by token.
#include "models/transformer/reuse.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

struct Counted {
  StepWork step;
  KvLayout layout;
};
Counted counted(const Model& model) {
  return {make_step_work(model, DType::bf16), make_kv_layout(model, DType::bf16)};
}
Counted counted(const char* name) { return counted(load_model(name)); }

// A small model of one kind of layers.
Counted of_kind(const std::string& kind, const std::string& attention = "") {
  Model model;
  read_spec(parse_yaml("hidden: 64\nvocab: 100\nlayers: 3\nmax_position: 4096\nffn: {intermediate: 128}\n"
                       "attention: {heads: 8, kv_heads: 2, head_dim: 16" +
                           attention + "}\nkinds: [{name: full, " + kind + "}]\n",
                       "m.yaml"),
            model);
  return counted(model);
}

// Every query token of the prefix, one after the other: a score and a weighted value for each entry it sees.
double attention_token_by_token(const Counted& c, std::int64_t from, std::int64_t to) {
  double flops = 0;
  for (const AttentionOp& op : c.step.attention) {
    if (op.rows != Rows::tokens && op.rows != Rows::prefill) continue;
    for (std::int64_t token = from + 1; token <= to; ++token) {
      std::int64_t entries = op.rule.held(token);
      if (op.read_limit > 0) entries = std::min(entries, op.read_limit);
      flops += 2.0 * static_cast<double>(entries * op.q_heads * (op.head_dim + op.v_head_dim) * op.layers);
    }
  }
  return flops;
}

// d 4096, s 2, gqa 4, p 1000, a 4, b 22: 1e15 x 2 x 4096 x 2 / (4 (4 x 1000 x 4096 + 22 x 4096^2)).
TEST(Mooncake, ThresholdIsBytesOverFlopsAsThePaperWritesThem) {
  MooncakeTerms terms;
  terms.hidden = 4096, terms.gqa = 4, terms.prefix = 1000;
  EXPECT_DOUBLE_EQ(mooncake_threshold(terms, 1e15), 1.6384e19 / (4 * (16'384'000.0 + 369'098'752.0)));
  const double once = mooncake_threshold(terms, 1e15);
  EXPECT_DOUBLE_EQ(mooncake_threshold(terms, 2e15), 2 * once) << "twice the GPU needs twice the link";
  terms.gqa = 8;
  EXPECT_DOUBLE_EQ(mooncake_threshold(terms, 1e15), once / 2) << "half the bytes need half of it";
  terms.prefix = 2000;
  EXPECT_LT(mooncake_threshold(terms, 1e15), once / 2) << "later tokens are dearer to compute";
}

TEST(PrefixWork, FullAttentionOfATokenSeesAllBeforeIt) {
  const Counted c = of_kind("retention: full");
  const PrefixWork work = prefix_work(c.step, c.layout, 0, 100);
  EXPECT_EQ(work.bytes, 100.0 * 3 * 2 * 2 * 16 * 2);  // tokens, layers, K and V, heads, width, bytes
  EXPECT_EQ(work.attention_flops, 2.0 * (100 * 101 / 2) * 8 * (16 + 16) * 3);
}

// A token's matrices: q 64 x 128, kv 64 x 64, out 128 x 64, up and gate 2 x 64 x 128, down 128 x 64.
TEST(PrefixWork, LinearFlopsAreTwiceTheMatricesATokenPasses) {
  const Counted c = of_kind("retention: full");
  const double matrices = 64 * 128 + 64 * 64 + 128 * 64 + 3 * 64 * 128;
  EXPECT_EQ(prefix_work(c.step, c.layout, 0, 100).linear_flops, 2.0 * 100 * 3 * matrices);
}

TEST(PrefixWork, EachRetentionIsCountedTokenByToken) {
  const std::pair<const char*, const char*> kinds[] = {
      {"retention: full", ""},
      {"retention: window, window: 16", ""},
      {"retention: window, window: 16, sinks: 4", ""},
      {"retention: chunked, window: 16", ""},
      {"compressed: {stride: 4}", ""},
      {"compressed: {stride: 4, slots: 5}", ""},
      {"compressed: {stride: 4, top_k: 3}", ""},
      {"retention: window, window: 8, compressed: {stride: 3, of: evicted}", ""},
      {"retention: window, window: 8, compressed: {stride: 3, of: evicted, slots: 6}", ""},
      {"compressed: {stride: 4, indexed: true}", ", indexer: {heads: 2, dim: 8, top_k: 7}"},
      {"retention: full", ", kind: mla, mla: {kv_lora_rank: 32, nope_dim: 8, rope_dim: 4, v_dim: 8}"},
      {"retention: full",
       ", kind: mla, mla: {kv_lora_rank: 32, nope_dim: 8, rope_dim: 4, v_dim: 8}, indexer: {heads: 2, dim: "
       "8, "
       "top_k: 7}"},
  };
  for (const auto& [kind, attention] : kinds) {
    const Counted c = of_kind(kind, attention);
    for (const auto& [from, to] : {std::pair<std::int64_t, std::int64_t>{0, 1},
                                   {0, 7},
                                   {0, 16},
                                   {0, 17},
                                   {0, 100},
                                   {5, 6},
                                   {15, 33},
                                   {40, 103}})
      EXPECT_EQ(prefix_work(c.step, c.layout, from, to).attention_flops,
                attention_token_by_token(c, from, to))
          << kind << attention << ", tokens " << from << " to " << to;
  }
}

TEST(PrefixWork, ShippedModelsAreCountedTokenByToken) {
  for (const char* name :
       {"llama-3.1-8b", "gemma-3-27b", "gpt-oss-20b", "llama-4-scout", "deepseek-v3", "deepseek-v3.2",
        "deepseek-v4-pro", "jamba-v0.1", "mistral-7b-v0.1", "gemma-3n-e4b"}) {
    const Counted c = counted(name);
    const double exact = attention_token_by_token(c, 0, 20'000);
    // Sums of integers beyond 2^53 round: 1e-12 of them.
    EXPECT_NEAR(prefix_work(c.step, c.layout, 0, 20'000).attention_flops, exact, 1e-12 * exact) << name;
  }
}

TEST(PrefixWork, LayersAPromptDoesNotRunCostItNothing) {
  Model model = load_model("gemma-3n-e4b");
  const Counted all = counted(model);
  model.sharing.skip_prefill = true;
  const Counted skips = counted(model);
  const PrefixWork a = prefix_work(all.step, all.layout, 0, 4096),
                   b = prefix_work(skips.step, skips.layout, 0, 4096);
  EXPECT_LT(b.linear_flops, a.linear_flops);
  EXPECT_LT(b.attention_flops, a.attention_flops) << "nor do they attend";
  EXPECT_EQ(b.bytes, a.bytes) << "their keys and values are stored all the same";
}

TEST(PrefixWork, PartsAddUp) {
  for (const char* name : {"llama-3.1-8b", "llama-4-scout", "deepseek-v4-pro"}) {
    const Counted c = counted(name);
    const double whole = prefix_work(c.step, c.layout, 0, 30'000).flops();
    const double parts = prefix_work(c.step, c.layout, 0, 9'999).flops() +
                         prefix_work(c.step, c.layout, 9'999, 30'000).flops();
    EXPECT_NEAR(parts, whole, 1e-12 * whole) << name;
  }
}

}  // namespace
}  // namespace tessera
