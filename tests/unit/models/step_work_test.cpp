// The operators of a step: shapes worked out by hand from each model's widths.
#include "models/transformer/step_work.hpp"

#include <gtest/gtest.h>

#include <map>

#include "models/base/error.hpp"
#include "models/transformer/kv_layout.hpp"

namespace tessera {
namespace {

StepWork work_of(const std::string& model, std::int64_t tp = 1, std::int64_t ep = 1) {
  return make_step_work(load_model(model), DType::bf16, tp, ep);
}
const GemmOp* find_gemm(const StepWork& work, const std::string& name) {
  for (const GemmOp& op : work.gemms)
    if (op.name == name) return &op;
  return nullptr;
}
void expect_gemm(const StepWork& work, const std::string& name, std::int64_t n, std::int64_t k,
                 std::int64_t layers) {
  const GemmOp* op = find_gemm(work, name);
  ASSERT_NE(op, nullptr) << name;
  EXPECT_EQ(op->n, n) << name;
  EXPECT_EQ(op->k, k) << name;
  EXPECT_EQ(op->layers, layers) << name;
}
std::int64_t count_of(const StepWork& work, CollectiveOp::Kind kind) {
  std::int64_t count = 0;
  for (const CollectiveOp& op : work.collectives) count += op.kind == kind ? op.count : 0;
  return count;
}

TEST(StepWork, Llama8BOnOneGpu) {
  const StepWork work = work_of("llama-3.1-8b");
  ASSERT_EQ(work.gemms.size(), 5u);
  expect_gemm(work, "qkv", 4096 + 2 * 1024, 4096, 32);
  expect_gemm(work, "attention_out", 4096, 4096, 32);
  expect_gemm(work, "ffn_up", 2 * 14336, 4096, 32);
  expect_gemm(work, "ffn_down", 4096, 14336, 32);
  expect_gemm(work, "lm_head", 128256, 4096, 1);
  EXPECT_EQ(find_gemm(work, "qkv")->rows, Rows::tokens);
  EXPECT_EQ(find_gemm(work, "lm_head")->rows, Rows::sampled);
  EXPECT_TRUE(work.collectives.empty());
  EXPECT_TRUE(work.moe.empty());
  ASSERT_EQ(work.attention.size(), 1u);
  EXPECT_EQ(work.attention[0].q_heads, 32);
  EXPECT_EQ(work.attention[0].kv_heads, 8);
  EXPECT_EQ(work.attention[0].head_dim, 128);
  EXPECT_EQ(work.attention[0].v_head_dim, 128);
  EXPECT_EQ(work.attention[0].rule.window, 0);
  EXPECT_EQ(work.attention[0].layers, 32);
}

TEST(StepWork, TensorParallelismSplitsHeadsWidthAndVocabulary) {
  const StepWork work = work_of("llama-3.1-70b", 8);
  expect_gemm(work, "qkv", (8192 + 2 * 1024) / 8, 8192, 80);
  expect_gemm(work, "attention_out", 8192, 1024, 80);
  expect_gemm(work, "ffn_up", 2 * 28672 / 8, 8192, 80);
  expect_gemm(work, "ffn_down", 8192, 3584, 80);
  expect_gemm(work, "lm_head", 16032, 8192, 1);
  EXPECT_EQ(work.attention[0].q_heads, 8);
  EXPECT_EQ(work.attention[0].kv_heads, 1);
}

TEST(StepWork, KeyValueHeadsAreReplicatedBeyondTheirCount) {
  const StepWork work = work_of("llama-3.1-70b", 16);
  EXPECT_EQ(work.attention[0].q_heads, 4);
  EXPECT_EQ(work.attention[0].kv_heads, 1);
  expect_gemm(work, "qkv", 512 + 2 * 128, 8192, 80);
}

// Two all-reduces a layer of hidden x 2 B a token, one after the embedding; logits are gathered whole.
TEST(StepWork, CollectivesOfATensorParallelStep) {
  const StepWork work = work_of("llama-3.1-70b", 4);
  EXPECT_EQ(count_of(work, CollectiveOp::Kind::all_reduce), 2 * 80 + 1);
  EXPECT_EQ(count_of(work, CollectiveOp::Kind::all_gather), 1);
  for (const CollectiveOp& op : work.collectives)
    EXPECT_EQ(op.bytes_per_row, op.kind == CollectiveOp::Kind::all_reduce ? 8192 * 2 : 128256 * 2) << op.name;
}

TEST(StepWork, LayersWithoutMixerOrFeedForwardReduceOnce) {
  // Nemotron-3-Nano: 23 Mamba + 6 attention + 23 MoE layers, one all-reduce each, and the embedding's.
  EXPECT_EQ(count_of(work_of("nemotron-3-nano-30b-a3b", 2), CollectiveOp::Kind::all_reduce), 52 + 1);
}

TEST(StepWork, WhatDoesNotDivideIsAnError) {
  EXPECT_THROW(work_of("llama-3.1-8b", 3), InputError);
  EXPECT_THROW(work_of("llama-3.1-8b", 64), InputError);  // 32 query heads
  EXPECT_THROW(work_of("phi-4", 8), InputError);          // 10 kv heads
  EXPECT_THROW(work_of("mixtral-8x7b", 2, 4), InputError);
  EXPECT_THROW(work_of("llama-3.1-8b", 2, 2), InputError);
  EXPECT_THROW(work_of("nemotron-3-nano-30b-a3b", 64), InputError);
}

TEST(StepWork, AnErrorNamesTheRanksAndTheWidth) {
  try {
    work_of("llama-3.1-8b", 64);
    FAIL();
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(),
                 "llama-3.1-8b: tensor parallelism over 64 ranks does not divide the query heads of 32");
  }
}

TEST(StepWork, ExpertsAreOneFusedOperatorBesideTheRouter) {
  const StepWork work = work_of("qwen3-30b-a3b");
  expect_gemm(work, "router", 128, 2048, 48);
  ASSERT_EQ(work.moe.size(), 1u);
  EXPECT_EQ(work.moe[0].layers, 48);
  EXPECT_EQ(work.moe[0].hidden, 2048);
  EXPECT_EQ(work.moe[0].expert_width, 768);
  EXPECT_EQ(work.moe[0].experts, 128);
  EXPECT_EQ(work.moe[0].top_k, 8);
  EXPECT_EQ(find_gemm(work, "ffn_up"), nullptr);
}

TEST(StepWork, ExpertParallelismTakesSlicesFromTensorParallelism) {
  const StepWork work = work_of("qwen3-30b-a3b", 4, 2);
  EXPECT_EQ(work.moe[0].ep, 2);
  EXPECT_EQ(work.moe[0].tp, 2);
}

TEST(StepWork, SharedExpertsAndLeadingDenseLayersAreOrdinaryBlocks) {
  const StepWork work = work_of("deepseek-v3");
  expect_gemm(work, "shared_up", 2 * 2048, 7168, 58);
  expect_gemm(work, "ffn_up", 2 * 18432, 7168, 3);
  EXPECT_EQ(work.moe[0].layers, 58);
  EXPECT_EQ(work.moe[0].dtype, DType::fp8);
  EXPECT_EQ(find_gemm(work, "router")->dtype, DType::bf16);
}

TEST(StepWork, LatentAttentionDecodesAbsorbedAndPrefillsExpanded) {
  const StepWork work = work_of("deepseek-v3", 8);
  expect_gemm(work, "mla_down", 1536 + 512 + 64, 7168, 61);  // on every rank
  expect_gemm(work, "mla_q", 16 * 192, 1536, 61);
  expect_gemm(work, "mla_kv_up", 16 * 256, 512, 61);
  expect_gemm(work, "attention_out", 7168, 16 * 128, 61);
  EXPECT_EQ(find_gemm(work, "mla_absorb_k")->batch, 16);
  EXPECT_EQ(find_gemm(work, "mla_absorb_k")->rows, Rows::decode);
  EXPECT_FALSE(find_gemm(work, "mla_absorb_k")->owns_weights);
  ASSERT_EQ(work.attention.size(), 2u);
  EXPECT_EQ(work.attention[0].kind, AttentionOp::Kind::mla_absorbed);
  EXPECT_EQ(work.attention[0].kv_heads, 1);
  EXPECT_EQ(work.attention[0].head_dim, 576);
  EXPECT_EQ(work.attention[0].v_head_dim, 512);
  EXPECT_EQ(work.attention[1].kind, AttentionOp::Kind::mla_expanded);
  EXPECT_EQ(work.attention[1].kv_heads, 16);
  EXPECT_EQ(work.attention[1].head_dim, 192);
  EXPECT_EQ(work.attention[1].v_head_dim, 128);
}

TEST(StepWork, TheIndexerScoresAllTokensAndAttentionReadsTheChosen) {
  const Model model = load_model("deepseek-v3.2");
  const StepWork work = make_step_work(model, DType::bf16);
  const KvLayout layout = make_kv_layout(model, DType::bf16);
  bool scored = false;
  for (const AttentionOp& op : work.attention) {
    const bool index = op.kind == AttentionOp::Kind::index_scores;
    scored = scored || index;
    EXPECT_EQ(op.read_limit, index ? 0 : 2048);
    EXPECT_EQ(layout.groups[static_cast<std::size_t>(op.kv_group)].name, index ? "full index keys" : "full");
  }
  EXPECT_TRUE(scored);
}

// DeepSeek-V4: queries through a latent of 1536, outputs of 16 groups through 1024 each, an entry projected
// with its weights from twice 4 tokens at stride 4; the indexer scores compressed entries and picks 512 of
// them.
TEST(StepWork, CompressedEntriesAreProjectedScoredAndAttended) {
  const StepWork work = work_of("deepseek-v4-pro");
  expect_gemm(work, "q_up", 128 * 512, 1536, 61);
  expect_gemm(work, "kv", 512, 7168, 61);
  expect_gemm(work, "o_down", 1024, 8 * 512, 61);
  expect_gemm(work, "attention_out", 7168, 16 * 1024, 61);
  expect_gemm(work, "index_compress", 2 * 2 * 128, 7168, 30);
  std::int64_t compress = 0;
  for (const GemmOp& op : work.gemms)
    if (op.name == "compress") compress += op.n * op.layers;
  EXPECT_EQ(compress, 30 * 2 * 2 * 512 + 31 * 2 * 512);
  std::map<std::string, const AttentionOp*> ops;
  for (const AttentionOp& op : work.attention) ops[op.name] = &op;
  ASSERT_EQ(ops.size(), 5u);
  EXPECT_EQ(ops["c4a compressed"]->read_limit, 512);
  EXPECT_EQ(ops["c4a compressed"]->rule.stride, 4);
  EXPECT_EQ(ops["c4a compressed index keys"]->kind, AttentionOp::Kind::index_scores);
  EXPECT_EQ(ops["c128a compressed"]->read_limit, 8192);
  EXPECT_EQ(ops["c4a"]->rule.window, 128);
}

TEST(StepWork, WindowLayersAreOperatorsOfTheirOwn) {
  const StepWork work = work_of("gpt-oss-20b");
  ASSERT_EQ(work.attention.size(), 2u);
  EXPECT_EQ(work.attention[0].rule.window, 128);
  EXPECT_EQ(work.attention[0].layers, 12);
  EXPECT_EQ(work.attention[1].rule.window, 0);
  EXPECT_EQ(work.attention[1].layers, 12);
}

TEST(StepWork, SharingLayersSkipTheKeyValueProjectionButAttend) {
  const StepWork work = work_of("hunyuan-large");
  std::int64_t with_kv = 0;
  std::int64_t without = 0;
  const AttentionOp& attention = work.attention[0];
  const std::int64_t q_width = attention.q_heads * attention.head_dim;
  for (const GemmOp& op : work.gemms) {
    if (op.name != "qkv") continue;
    (op.n == q_width ? without : with_kv) += op.layers;
  }
  EXPECT_EQ(with_kv, 32);
  EXPECT_EQ(without, 32);
  EXPECT_EQ(attention.layers, 64);
}

TEST(StepWork, RecurrentLayersCarryTheirState) {
  const Model model = load_model("jamba-v0.1");
  const StepWork work = make_step_work(model, DType::bf16);
  ASSERT_EQ(work.recurrent.size(), 1u);
  EXPECT_EQ(work.recurrent[0].layers, 28);
  EXPECT_EQ(work.recurrent[0].layers * work.recurrent[0].state_bytes,
            make_kv_layout(model, DType::bf16).state_bytes());
  EXPECT_EQ(work.attention[0].layers, 4);
  expect_gemm(work, "state_in", 2 * 8192, 4096, 28);
}

// Each attention operator's KV group covers all layers that read it, so bytes and operators agree.
TEST(StepWork, EveryAttentionOperatorPointsAtItsKvGroup) {
  for (const std::string& name : config_names("models")) {
    const Model model = load_model(name);
    const KvLayout layout = make_kv_layout(model, DType::bf16);
    for (const AttentionOp& op : make_step_work(model, DType::bf16).attention) {
      const KvGroup& group = layout.groups.at(static_cast<std::size_t>(op.kv_group));
      EXPECT_EQ(op.layers, group.layers_read) << name;
      EXPECT_EQ(op.name, group.name) << name;
      if (op.kind != AttentionOp::Kind::gqa) continue;
      EXPECT_EQ(op.kv_heads * (op.head_dim + op.v_head_dim) * 2, group.entry_bytes) << name;
    }
  }
}

// Linear FLOPs of a token are twice the weights it meets (llama: all but embedding and norms).
TEST(StepWork, LinearFlopsAreTwiceTheMatrixParameters) {
  std::int64_t flops = 0;
  for (const GemmOp& op : work_of("llama-3.1-8b").gemms) flops += op.flops(1);
  EXPECT_EQ(flops, 2 * (8'030'261'248 - 128256LL * 4096 - (2 * 32 + 1) * 4096));
}

// Per layer and token in bf16: two fused add-norms (4 x hidden), rotary on q and k, activation, KV write.
TEST(StepWork, ElementwiseBytesOfLlama8B) {
  const StepWork work = work_of("llama-3.1-8b");
  std::int64_t bytes = 0;
  std::int64_t kernels = 0;
  for (const ElementwiseOp& op : work.elementwise) {
    if (op.layers < 32) continue;
    bytes += op.bytes_per_token * op.layers;
    kernels += op.kernels * op.layers;
  }
  EXPECT_EQ(kernels, 5 * 32);
  EXPECT_EQ(bytes, 32 * 2 * (2 * 4 * 4096 + 2 * (4096 + 1024) + 3 * 14336 + 2 * 2048));
}

}  // namespace
}  // namespace tessera
