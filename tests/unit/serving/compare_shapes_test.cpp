// Shapes side by side: that the figures follow from layout and capacity, and move the way each method says.
#include "sim/serving/compare_shapes.hpp"

#include <gtest/gtest.h>

#include "models/parallel/capacity.hpp"
#include "models/parallel/partition.hpp"

namespace tessera {
namespace {

CompareSetup h100(std::int64_t context) {
  CompareSetup setup;
  setup.gpu = load_gpu("h100-sxm");
  setup.engine = read_config<EngineProfile>("engines", "vllm-0.19");
  setup.context = context;
  return setup;
}
ShapeReport report(const CompareSetup& setup, const std::string& shape, const char* model = "llama-3.1-8b") {
  ShapeReport r = report_shape(setup, apply_shape(load_model(model), shape));
  EXPECT_EQ(r.refusal, "") << shape;
  return r;
}

TEST(CompareShapes, ThePlainModelsBatchIsItsCapacity) {
  const CompareSetup setup = h100(4096);
  const RankModel rank = partition(load_model("llama-3.1-8b"), {}, DType::bf16);
  const CapacityBreakdown c = derive_kv_capacity(rank, setup.gpu.memory_bytes, 0.9, setup.engine.memory, {});
  EXPECT_EQ(report(setup, "base").max_batch, c.blocks / (4096 / 16));
  EXPECT_NEAR(static_cast<double>(report(setup, "base").max_context), static_cast<double>(c.tokens()), 16);
}

// The longest context is one that fits, and one more token does not.
TEST(CompareShapes, TheLongestContextIsTheLastThatFits) {
  for (const char* shape : {"base", "local-5-1024", "strided-4-128", "kivi-2", "yoco-1024"}) {
    CompareSetup setup = h100(4096);
    const std::int64_t longest = report(setup, shape).max_context;
    ASSERT_GT(longest, 0) << shape;
    setup.context = longest;
    EXPECT_EQ(report(setup, shape).max_batch, 1) << shape;
    setup.context = longest + 1;
    EXPECT_NE(report_shape(setup, apply_shape(load_model("llama-3.1-8b"), shape)).refusal, "") << shape;
  }
}

TEST(CompareShapes, BoundedCachesHaveNoLongestContext) {
  for (const char* shape :
       {"window-1024", "sinks-4-1020", "cascade-4-1024", "infini-2048", "compressive-4-512-512"})
    EXPECT_EQ(report(h100(4096), shape).max_context, 0) << shape;
}

// Capacity and bandwidth apart: CLA-2 fits twice the sequences, but a sequence is read as before.
TEST(CompareShapes, SharingGivesCapacityNotBandwidth) {
  const ShapeReport base = report(h100(32768), "base"), cla = report(h100(32768), "cla-2");
  EXPECT_NEAR(static_cast<double>(cla.max_batch), 2.0 * static_cast<double>(base.max_batch), 1);
  EXPECT_EQ(cla.decode_read_bytes, base.decode_read_bytes);
  EXPECT_LT(cla.decode_tokens_s / base.decode_tokens_s, 1.3);
}

// A layer that reads another's latent and compresses no queries has nothing to project down.
TEST(CompareShapes, LatentsCombineWithEverySharing) {
  for (const char* shape :
       {"mla+cla-2", "gla-2+cla-2", "mla+yoco-1024", "mla+lckv-2", "mla+kvsharer-4", "mla+minicache"})
    EXPECT_GT(report(h100(4096), shape).decode_tokens_s, 0) << shape;
}

TEST(CompareShapes, ASharingMapLongerThanTheModelIsRefused) {
  EXPECT_THROW(apply_shape(load_model("llama-3.1-8b"), "kvsharer-1000000000"), InputError);
}

// Fewer heads give both: at equal batch a step is faster, and more sequences fit.
TEST(CompareShapes, FewerHeadsGiveCapacityAndBandwidth) {
  CompareSetup setup = h100(32768);
  const ShapeReport base = report(setup, "base"), mqa = report(setup, "mqa");
  EXPECT_GT(mqa.max_batch, 7 * base.max_batch);
  setup.batch = 8;
  EXPECT_GT(report(setup, "base").step_ms, 1.5 * report(setup, "mqa").step_ms);
}

TEST(CompareShapes, SkippedPrefillHalvesALongPromptAndPassesMultiplyIt) {
  const CompareSetup setup = h100(16384);
  const double base = report(setup, "base").prefill_ms;
  EXPECT_LT(report(setup, "yoco-1024").prefill_ms, 0.55 * base);
  EXPECT_GT(report(setup, "lckv-2").prefill_ms, 7 * base);
  EXPECT_LT(report(setup, "lckv-2").prefill_ms, 9.5 * base);
}

TEST(CompareShapes, ConversionCostsTimeButStorageFalls) {
  CompareSetup setup = h100(32768);
  const ShapeReport base = report(setup, "base"), kivi = report(setup, "kivi-2");
  EXPECT_GT(kivi.max_batch, 5 * base.max_batch);
  setup.batch = 8;
  const double plain = report(setup, "base").step_ms, converted = report(setup, "kivi-2").step_ms;
  EXPECT_LT(converted, plain);         // less traffic
  EXPECT_GT(converted, plain * 0.35);  // but not 16 / 3 times less
}

TEST(CompareShapes, TheReasonNamesWhatEndsTheBatch) {
  EXPECT_NE(report(h100(32768), "base").reason.find("capacity ends the batch"), std::string::npos);
  EXPECT_NE(report(h100(1024), "mqa").reason.find("seats end the batch"), std::string::npos);
  CompareSetup given = h100(1024);
  given.batch = 2;
  EXPECT_NE(report(given, "base").reason.find("batch given"), std::string::npos);
}

TEST(CompareShapes, WhatDoesNotFitIsRefusedWithItsReason) {
  CompareSetup setup = h100(4096);
  const ShapeReport large = report_shape(setup, apply_shape(load_model("llama-3.1-70b"), "base"));
  EXPECT_NE(large.refusal.find("does not fit"), std::string::npos) << large.refusal;
  setup.batch = 200;
  const ShapeReport crowded = report_shape(setup, apply_shape(load_model("llama-3.1-8b"), "mha"));
  EXPECT_NE(crowded.refusal.find("a batch of 200 does not fit"), std::string::npos) << crowded.refusal;
}

// DeepSeek-V4's window, compressed entries and index keys are all priced, and none of them twice: attention
// to a million tokens costs little more than to 128 thousand.
TEST(CompareShapes, StridedAttentionStaysFlat) {
  CompareSetup setup = h100(131072);
  setup.gpu = load_gpu("b200-sxm");
  setup.tp = 8;
  setup.batch = 1;
  const double short_ms = report(setup, "base", "deepseek-v4-pro").step_ms;
  setup.context = 1'048'576;
  const double long_ms = report(setup, "base", "deepseek-v4-pro").step_ms;
  EXPECT_GT(long_ms, short_ms);
  EXPECT_LT(long_ms, 1.5 * short_ms);
}

}  // namespace
}  // namespace tessera
