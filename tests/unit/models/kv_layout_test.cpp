// KV bytes of known shapes, group by group. Expected values are worked out in the comments or published.
#include "models/transformer/kv_layout.hpp"

#include <gtest/gtest.h>

#include "models/base/error.hpp"
#include "models/transformer/model.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kGiB = 1LL << 30;

Model read_model(const std::string& text) {
  Model model;
  read_spec(parse_yaml(text, "model.yaml"), model);
  return model;
}
// Four layers of 8 query heads x 16 wide.
Model small(const std::string& attention, const std::string& rest = "") {
  return read_model(
      "hidden: 128\nvocab: 1000\nlayers: 4\nmax_position: 4096\nattention: {heads: 8, head_dim: 16, " +
      attention + "}\nffn: {intermediate: 256}\n" + rest);
}
KvLayout bf16(const Model& model, std::int64_t tp = 1) { return make_kv_layout(model, DType::bf16, tp); }
KvLayout shipped(const std::string& name) { return bf16(load_model(name)); }

TEST(KvLayout, EntryBytesFollowTheKeyValueHeads) {
  EXPECT_EQ(bf16(small("kv_heads: 8")).groups[0].entry_bytes, 2 * 8 * 16 * 2);  // MHA
  EXPECT_EQ(bf16(small("kv_heads: 2")).groups[0].entry_bytes, 2 * 2 * 16 * 2);  // GQA
  EXPECT_EQ(bf16(small("kv_heads: 1")).groups[0].entry_bytes, 2 * 1 * 16 * 2);  // MQA
}

TEST(KvLayout, KeysAndValuesMayDifferInWidth) {
  EXPECT_EQ(bf16(small("kv_heads: 2, v_head_dim: 8")).groups[0].entry_bytes, 2 * (16 + 8) * 2);
}

TEST(KvLayout, TiedKeysAndValuesAreOneTensorOnlyIfTheCacheIsTied) {
  EXPECT_EQ(bf16(small("kv_heads: 2, k_equals_v: cache")).groups[0].entry_bytes, 2 * 16 * 2);
  EXPECT_EQ(bf16(small("kv_heads: 2, k_equals_v: weights")).groups[0].entry_bytes, 2 * 2 * 16 * 2);
}

TEST(KvLayout, Fp8HalvesTheEntriesOfGroupedAttention) {
  const Model model = small("kv_heads: 2");
  EXPECT_EQ(2 * make_kv_layout(model, DType::fp8).bytes_per_token(), bf16(model).bytes_per_token());
}

TEST(KvLayout, LatentAttentionStoresOneLatentAndOneRotaryKey) {
  EXPECT_EQ(shipped("deepseek-v3").groups[0].entry_bytes, (512 + 64) * 2);
}

// FlashMLA's record: 512 fp8 values, 4 scales of 4 B, 64 rotary values in bf16.
TEST(KvLayout, Fp8LatentRecordIs656Bytes) {
  EXPECT_EQ(make_kv_layout(load_model("deepseek-v3.2"), DType::fp8).groups[0].entry_bytes, 656);
}

TEST(KvLayout, IndexKeysAreStoredForAllTokensAndReadForAllTokens) {
  const KvLayout layout = shipped("deepseek-v3.2");
  ASSERT_EQ(layout.groups.size(), 2u);
  EXPECT_EQ(layout.groups[0].bytes_per_token(), 70272);
  EXPECT_EQ(layout.groups[1].bytes_per_token(), 15616);
  const std::int64_t context = 100'000;
  EXPECT_EQ(layout.groups[0].tokens_held(context), context);
  EXPECT_EQ(layout.groups[0].tokens_read(context), 2048);
  EXPECT_EQ(layout.groups[1].tokens_read(context), context);
  EXPECT_EQ(layout.decode_read_bytes(context), 70272 * 2048 + 15616 * context);
  EXPECT_EQ(layout.decode_read_bytes(1000), (70272 + 15616) * 1000);
}

TEST(KvLayout, AWindowHoldsSinksAndTheLastTokens) {
  const KvGroup group = bf16(small("kv_heads: 1",
                                   "kinds: [{name: w, retention: window, window: 100, sinks: 4}]\n"
                                   "pattern: [w]\n"))
                            .groups[0];
  EXPECT_EQ(group.tokens_held(0), 0);
  EXPECT_EQ(group.tokens_held(50), 50);
  EXPECT_EQ(group.tokens_held(104), 104);
  EXPECT_EQ(group.tokens_held(105), 104);
  EXPECT_EQ(group.tokens_held(1'000'000), 104);
}

TEST(KvLayout, AChunkStartsAnewAtEveryMultiple) {
  const KvGroup group =
      bf16(small("kv_heads: 1", "kinds: [{name: c, retention: chunked, window: 100}]\npattern: [c]\n"))
          .groups[0];
  EXPECT_EQ(group.tokens_held(0), 0);
  EXPECT_EQ(group.tokens_held(1), 1);
  EXPECT_EQ(group.tokens_held(100), 100);
  EXPECT_EQ(group.tokens_held(101), 1);
  EXPECT_EQ(group.tokens_held(250), 50);
}

TEST(KvLayout, PagesOfAWindowAreAlignedToTheSequence) {
  const KvLayout layout =
      bf16(small("kv_heads: 1", "kinds: [{name: w, retention: window, window: 32}]\npattern: [w]\n"));
  EXPECT_EQ(layout.blocks_held(32, 16), 2);
  EXPECT_EQ(layout.blocks_held(33, 16), 3);  // tokens 1..32 touch pages 0, 1 and 2
  EXPECT_EQ(layout.blocks_held(47, 16), 3);
  EXPECT_EQ(layout.blocks_held(48, 16), 2);  // tokens 16..47: pages 1 and 2
  EXPECT_EQ(layout.blocks_held(0, 16), 0);
}

TEST(KvLayout, PagesOfSinksStayBesideTheWindow) {
  const KvLayout layout = bf16(
      small("kv_heads: 1", "kinds: [{name: w, retention: window, window: 32, sinks: 4}]\npattern: [w]\n"));
  EXPECT_EQ(layout.blocks_held(48, 16), 3);    // pages 0 (sinks), 1, 2
  EXPECT_EQ(layout.blocks_held(4800, 16), 3);  // page 0 and the last two
}

TEST(KvLayout, APageThatSpansAllLayersStaysWhileAnyLayerNeedsIt) {
  const KvLayout mixed = bf16(small(
      "kv_heads: 1", "kinds: [{name: w, retention: window, window: 32}, {name: g}]\npattern: [w, g]\n"));
  EXPECT_EQ(mixed.blocks_held(4800, 16), 300);
  EXPECT_EQ(mixed.block_bytes(16), 16 * mixed.bytes_per_token());
  // With pages per group, only the two global layers keep all 300: 2 layers x 64 B x 16 x (300 + 2).
  EXPECT_EQ(mixed.bytes_in_group_blocks(4800, 16), 2 * 64 * 16 * (300 + 2));
}

TEST(KvLayout, AdjacentSharingHalvesWhatIsHeldButNotWhatIsRead) {
  const KvLayout plain = bf16(small("kv_heads: 2"));
  const KvLayout shared = bf16(small("kv_heads: 2", "sharing: {kind: adjacent, factor: 2}\n"));
  EXPECT_EQ(2 * shared.bytes_held(1000), plain.bytes_held(1000));
  EXPECT_EQ(shared.decode_read_bytes(1000), plain.decode_read_bytes(1000));
  EXPECT_EQ(shared.groups[0].layers_held, 2);
  EXPECT_EQ(shared.groups[0].layers_read, 4);
}

TEST(KvLayout, AnUnevenLastGroupOfSharingLayersStillStoresOnce) {
  const KvLayout shared = bf16(small("kv_heads: 2", "sharing: {kind: adjacent, factor: 3}\n"));
  EXPECT_EQ(shared.groups[0].layers_held, 2);  // layers 0 and 3 of 4
}

// 35 layers, the last 15 reuse: 4 local : 1 global leaves 16 local and 4 global holders of 28 and 7.
TEST(KvLayout, Gemma3nHoldsTwentyLayers) {
  const KvLayout layout = shipped("gemma-3n-e4b");
  ASSERT_EQ(layout.groups.size(), 2u);
  EXPECT_EQ(layout.groups[0].layers_held, 16);
  EXPECT_EQ(layout.groups[0].layers_read, 28);
  EXPECT_EQ(layout.groups[1].layers_held, 4);
  EXPECT_EQ(layout.groups[1].layers_read, 7);
}

// Tensor parallelism splits heads, then replicates them; a latent is on every rank.
TEST(KvLayout, RanksShareHeadsEvenlyOrReplicateThem) {
  const Model model = load_model("llama-3.1-70b");  // 8 kv heads
  EXPECT_EQ(bf16(model, 4).bytes_per_token() * 4, 327680);
  EXPECT_EQ(bf16(model, 8).bytes_per_token() * 8, 327680);
  EXPECT_EQ(bf16(model, 16).bytes_per_token() * 8, 327680);
  EXPECT_EQ(bf16(model, 64).bytes_per_token() * 8, 327680);
  EXPECT_THROW(bf16(model, 6), InputError);
  EXPECT_EQ(bf16(load_model("deepseek-v3"), 8).bytes_per_token(), 70272);
  EXPECT_EQ(bf16(load_model("deepseek-v3.2"), 8).bytes_per_token(), 85888);
}

// arXiv 2403.19887 Table 1: 256K tokens at 16 bits.
TEST(KvLayout, JambaMixtralAndLlama2At256K) {
  const std::int64_t context = 256 * 1024;
  EXPECT_EQ(shipped("jamba-v0.1").bytes_held(context), 4 * kGiB);
  EXPECT_EQ(shipped("mixtral-8x7b").bytes_held(context), 32 * kGiB);
  EXPECT_EQ(shipped("llama-2-7b").bytes_held(context), 128 * kGiB);
}

// 62 layers x 8192 B x 32768 against 10 global layers in full and 52 local ones of 1024 tokens.
TEST(KvLayout, Gemma3At32KWithAndWithoutWindows) {
  const KvLayout windows = shipped("gemma-3-27b");
  EXPECT_EQ(windows.bytes_per_token() * 32768, 31 * kGiB / 2);
  EXPECT_EQ(windows.bytes_held(32768), 8192LL * (10 * 32768 + 52 * 1024));
  EXPECT_NEAR(static_cast<double>(windows.bytes_held(32768)) / kGiB, 2.906, 0.0005);
}

TEST(KvLayout, MistralsRollingBufferSavesEightfoldAt32K) {
  const KvLayout layout = shipped("mistral-7b-v0.1");
  EXPECT_EQ(8 * layout.bytes_held(32768), layout.bytes_per_token() * 32768);
}

TEST(KvLayout, OnlyFullLayersGrowOnceWindowsBind) {
  EXPECT_EQ(shipped("gpt-oss-20b").unbounded_bytes_per_token(), 24576);
  EXPECT_EQ(shipped("gpt-oss-120b").unbounded_bytes_per_token(), 36864);
  EXPECT_EQ(shipped("llama-4-scout").unbounded_bytes_per_token(), 49152);
  EXPECT_EQ(shipped("mistral-7b-v0.1").unbounded_bytes_per_token(), 0);
  EXPECT_EQ(shipped("llama-3.1-8b").unbounded_bytes_per_token(), 131072);
}

TEST(KvLayout, Llama70BAt128KIsFortyGiB) {
  EXPECT_EQ(shipped("llama-3.1-70b").bytes_held(128 * 1024), 40 * kGiB);
}

// Mamba-1, bf16: 8192 channels x 16 states + 3 x 8192 convolution inputs, in 28 of 32 layers.
TEST(KvLayout, StateIsConstantInTheContext) {
  const KvLayout layout = shipped("jamba-v0.1");
  EXPECT_EQ(layout.state_bytes(), 28 * (8192 * 16 + 3 * 8192) * 2);
  EXPECT_EQ(layout.unbounded_bytes_per_token(), layout.bytes_per_token());
  EXPECT_EQ(shipped("llama-3.1-8b").state_bytes(), 0);
}

// Mamba-2 with an fp32 state: 64 heads x 64 x 128 x 4 B + 3 x (64 x 64 + 2 x 8 x 128) x 2 B in 23 layers.
TEST(KvLayout, StateMayBeKeptAtHigherPrecision) {
  EXPECT_EQ(shipped("nemotron-3-nano-30b-a3b").state_bytes(),
            23 * (64 * 64 * 128 * 4 + 3 * (4096 + 2048) * 2));
}

TEST(KvLayout, StateHeadsAreSplitOverRanks) {
  const Model model = load_model("qwen3.5-35b-a3b");
  EXPECT_EQ(2 * bf16(model, 2).state_bytes(), bf16(model).state_bytes());
  EXPECT_EQ(16 * bf16(model, 16).state_bytes(), bf16(model).state_bytes());
  // 32 value heads over 32 ranks, while the 16 key heads are replicated twice.
  EXPECT_GT(32 * bf16(model, 32).state_bytes(), bf16(model).state_bytes());
  EXPECT_THROW(bf16(model, 64), InputError);
}

TEST(KvLayout, KvDTypeIsReadByName) {
  const Model model = load_model("llama-3.1-8b");
  EXPECT_EQ(resolve_kv_precision(model, "auto").kernel, DType::bf16);
  EXPECT_EQ(resolve_kv_precision(model, "fp8").kernel, DType::fp8);
  EXPECT_THROW(resolve_kv_precision(model, "fp9"), InputError);
  EXPECT_THROW(resolve_kv_precision(model, "fp4"), InputError);
}

}  // namespace
}  // namespace tessera
