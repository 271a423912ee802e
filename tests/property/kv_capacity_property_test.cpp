// Invariants of capacity and partition over random deployments, and a slow count of a dense model's weights.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

#include "models/parallel/capacity.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kGiB = 1LL << 30;

std::int64_t pick(std::int64_t low, std::int64_t high) {
  return *rc::gen::inRange<std::int64_t>(low, high + 1);
}

Model random_dense_model() {
  Model model;
  model.name = "random";
  model.hidden = 64 * pick(1, 64);
  model.vocab = 16 * pick(10, 4000);
  model.layers = pick(1, 40);
  model.max_position = pick(1, 100'000);
  model.attention.kv_heads = 1LL << pick(0, 4);
  model.attention.heads = model.attention.kv_heads * (1LL << pick(0, 3)) * 16;
  model.attention.head_dim = 8 * pick(1, 32);
  model.attention.qk_norm = pick(0, 1) == 1;
  model.ffn.intermediate = 64 * pick(1, 200);
  model.ffn.gated = pick(0, 1) == 1;
  model.tied_embeddings = pick(0, 1) == 1;
  model.biases = *rc::gen::element<std::string>("none", "qkv", "all");
  return model;
}

// One addend per tensor of each layer, as a checkpoint lists them.
std::int64_t count_slowly(const Model& m) {
  const std::int64_t q = m.attention.heads * m.attention.head_dim;
  const std::int64_t kv = m.attention.kv_heads * m.attention.head_dim;
  const bool all = m.biases == "all";
  const bool qkv = all || m.biases == "qkv";
  std::int64_t sum = m.vocab * m.hidden;
  for (std::int64_t layer = 0; layer < m.layers; ++layer) {
    for (const std::int64_t width : {q, kv, kv}) sum += width * m.hidden + (qkv ? width : 0);
    sum += q * m.hidden + (all ? m.hidden : 0);
    for (int up = 0; up < (m.ffn.gated ? 2 : 1); ++up)
      sum += m.ffn.intermediate * m.hidden + (all ? m.ffn.intermediate : 0);
    sum += m.hidden * m.ffn.intermediate + (all ? m.hidden : 0);
    for (int norm = 0; norm < 2; ++norm) sum += m.hidden * (all ? 2 : 1);
    if (m.attention.qk_norm) sum += m.attention.head_dim + m.attention.head_dim;
  }
  sum += m.hidden * (all ? 2 : 1);
  if (!m.tied_embeddings) sum += m.vocab * m.hidden;
  return sum;
}

RC_GTEST_PROP(KvCapacityProperty, ParametersMatchACountTensorByTensor, ()) {
  const Model model = random_dense_model();
  RC_ASSERT(partition(model, {}, DType::bf16).parameters() == count_slowly(model));
}

// Splitting never loses a weight, a byte of cache or an operator's work.
RC_GTEST_PROP(KvCapacityProperty, RanksTogetherHoldAndComputeAtLeastTheWholeModel, ()) {
  const Model model = random_dense_model();
  const std::int64_t tp = 1LL << pick(0, 4);
  const RankModel whole = partition(model, {}, DType::bf16);
  const RankModel part = partition(model, {.tp = tp}, DType::bf16);
  RC_ASSERT(tp * part.weight_bytes() >= whole.weight_bytes());
  RC_ASSERT(part.weight_bytes() <= whole.weight_bytes());
  RC_ASSERT(tp * part.kv.bytes_per_token() >= whole.kv.bytes_per_token());
  const auto flops = [](const RankModel& rank) {
    std::int64_t sum = 0;
    for (const GemmOp& op : rank.step.gemms) sum += op.flops(1);
    return sum;
  };
  RC_ASSERT(tp * flops(part) >= flops(whole));
  if (tp <= model.attention.kv_heads) RC_ASSERT(tp * flops(part) == flops(whole));
}

struct Deployment {
  RankModel rank;
  std::int64_t total = 0;
  StepLimits limits;
};
Deployment random_deployment() {
  Deployment d{partition(random_dense_model(), {}, DType::bf16), 0, {}};
  d.limits = {
      .max_batched_tokens = pick(1, 16384), .max_num_seqs = pick(1, 512), .block_tokens = 1LL << pick(0, 8)};
  d.total = d.rank.weight_bytes() + pick(40, 400) * kGiB;  // always fits
  return d;
}
CapacityBreakdown derive(const Deployment& d) {
  return derive_kv_capacity(d.rank, d.total, 1.0, {}, d.limits);
}

RC_GTEST_PROP(KvCapacityProperty, NothingIsPromisedTwice, ()) {
  const CapacityBreakdown c = derive(random_deployment());
  const std::int64_t used =
      c.weight_bytes + c.buffer_bytes + c.activation_bytes + c.nontorch_bytes + c.cuda_graph_bytes;
  RC_ASSERT(used + c.blocks * c.block_bytes <= c.budget_bytes);
  RC_ASSERT(used + (c.blocks + 1) * c.block_bytes > c.budget_bytes);
  RC_ASSERT(c.blocks_low <= c.blocks);
  RC_ASSERT(c.blocks <= c.blocks_high);
}

RC_GTEST_PROP(KvCapacityProperty, MoreMemoryNeverGivesFewerBlocksAndLargerStepsNeverMore, ()) {
  const Deployment d = random_deployment();
  const std::int64_t blocks = derive(d).blocks;
  Deployment larger = d;
  larger.total += pick(0, 100) * kGiB;
  RC_ASSERT(derive(larger).blocks >= blocks);
  Deployment busier = d;
  busier.limits.max_batched_tokens += pick(0, 1000);
  busier.limits.max_num_seqs += pick(0, 100);
  RC_ASSERT(derive(busier).blocks <= blocks);
}

RC_GTEST_PROP(KvCapacityProperty, HalfTheKvPrecisionHoldsTwiceTheTokens, ()) {
  const Model model = random_dense_model();
  const std::int64_t total = partition(model, {}, DType::bf16).weight_bytes() + 60 * kGiB;
  const auto blocks = [&](DType kv) {
    return derive_kv_capacity(partition(model, {}, kv), total, 1.0, {}, {}).blocks;
  };
  const std::int64_t doubled = blocks(DType::fp8) - 2 * blocks(DType::bf16);
  RC_ASSERT(doubled == 0 || doubled == 1);
}

}  // namespace
}  // namespace tessera
