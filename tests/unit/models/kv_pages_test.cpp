// Unequal groups in equal blocks: pages, tables and padding of known models, worked out by hand.
#include "models/transformer/kv_pages.hpp"

#include <gtest/gtest.h>

#include "models/transformer/kv_shapes.hpp"

namespace tessera {
namespace {

KvPagePlan plan(const char* model, std::int64_t block_tokens = 16) {
  return plan_pages(make_kv_layout(load_model(model), DType::bf16), block_tokens, 1024);
}

TEST(KvPages, APlainModelHasOneTableAndNoPadding) {
  const KvPagePlan p = plan("llama-3.1-8b");
  ASSERT_EQ(p.groups.size(), 1u);
  EXPECT_EQ(p.layers_per_block, 32);
  EXPECT_EQ(p.block_bytes(), 131072 * 16);
  EXPECT_EQ(p.blocks_per_page(), 1);
  EXPECT_EQ(p.hit_tokens, 16);
  EXPECT_EQ(p.padding(p.groups[0]), 0);
}

// 10 global and 52 local layers: blocks of 10 layers, so six tables of local layers, the last with 8 empty
// places.
TEST(KvPages, Gemma3HasSixTablesOfLocalLayers) {
  const KvPagePlan p = plan("gemma-3-27b");
  EXPECT_EQ(p.layers_per_block, 10);
  EXPECT_EQ(p.block_bytes(), 10 * 8192 * 16);
  EXPECT_EQ(p.groups[0].tables, 6);
  EXPECT_EQ(p.groups[1].tables, 1);
  EXPECT_NEAR(p.padding(p.groups[0]), 8.0 / 60, 1e-12);
  EXPECT_EQ(p.padding(p.groups[1]), 0);
}

TEST(KvPages, GptOssHasOneTableOfEachKind) {
  const KvPagePlan p = plan("gpt-oss-20b");
  EXPECT_EQ(p.layers_per_block, 12);
  EXPECT_EQ(p.blocks_per_page(), 2);
}

// Half the heads: twice the tokens in a page of equal bytes, and hits end where both pages do.
TEST(KvPages, SmallerEntriesPutMoreTokensIntoAPage) {
  const KvPagePlan p = plan("mimo-v2-flash");
  EXPECT_EQ(p.page_bytes, 8 * 320 * 2 * 16);
  EXPECT_EQ(p.groups[0].page_tokens, 16);
  EXPECT_EQ(p.groups[1].page_tokens, 32);
  EXPECT_EQ(p.hit_tokens, 32);
}

// 30 layers of one kind and 31 of the other are close enough for blocks of 31.
TEST(KvPages, NearlyEqualGroupsTakeTheLarger) {
  const KvPagePlan p = plan("deepseek-v4-pro");
  EXPECT_EQ(p.layers_per_block, 31);
  for (const KvPageGroup& group : p.groups) EXPECT_EQ(group.tables, 1) << group.name;
  // A page is 16 raw entries: 64 native tokens of stride-4 entries, 256 of their index keys, 2048 at stride
  // 128.
  std::vector<std::int64_t> tokens;
  for (const KvPageGroup& group : p.groups) tokens.push_back(group.page_tokens);
  EXPECT_EQ(tokens, (std::vector<std::int64_t>{16, 64, 256, 16, 2048}));
  EXPECT_EQ(p.hit_tokens, 2048);
}

// 16-bit window entries and fp8 full ones share a page: 16 tokens of the first, 32 of the second.
TEST(KvPages, FormatsMayDifferByGroup) {
  const ShapedModel shaped = apply_shape(load_model("gpt-oss-20b"), "fp8-skip-window");
  const KvPagePlan p = plan_pages(make_kv_layout(shaped.model, shaped.precision), 16, 1024);
  EXPECT_EQ(p.groups[0].page_tokens, 16);
  EXPECT_EQ(p.groups[1].page_tokens, 32);
  EXPECT_EQ(p.padding(p.groups[1]), 0);
}

// 28 Mamba layers of 8192 x 19 x 2 B in blocks of 4 layers x 4096 B x 16 tokens: 33.25 blocks a snapshot.
TEST(KvPages, ASnapshotOfTheStateTakesWholeBlocks) {
  const KvPagePlan p = plan("jamba-v0.1");
  EXPECT_EQ(p.block_bytes(), 4 * 4096 * 16);
  EXPECT_TRUE(p.groups[0].snapshot);
  EXPECT_EQ(p.groups[0].page_tokens, 1024);
  EXPECT_EQ(p.groups[0].tables, 34);
  EXPECT_EQ(p.groups[0].useful_bytes(5000), 28 * 8192 * 19 * 2);
  EXPECT_EQ(p.hit_tokens, 1024);
}

TEST(KvPages, ThePlanIsPutIntoWords) {
  EXPECT_EQ(
      plan("gpt-oss-20b").text(),
      "blocks of 12 layers x 32.00 KiB: 12 layers local in 1 table of 16 tokens a block (0.0 % padding), 12 "
      "layers full in 1 table of 16 tokens a block (0.0 % padding)");
}

}  // namespace
}  // namespace tessera
