// Published KV-cache sizes that arithmetic must hit exactly, with the arithmetic beside them.
#include <gtest/gtest.h>

#include "models/transformer/explain_kv.hpp"
#include "models/transformer/kv_layout.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMiB = 1LL << 20, kGiB = 1LL << 30;
constexpr std::int64_t kMillion = 1LL << 20;  // "1M tokens" of model cards

KvLayout layout_of(const std::string& model, DType dtype = DType::bf16) {
  return make_kv_layout(load_model(model), dtype);
}
double gib(std::int64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(kGiB); }

Model model_of(const std::string& text) {
  Model model;
  read_spec(parse_yaml("hidden: 1024\nvocab: 1000\nmax_position: 1000000\nffn: {intermediate: 1024}\n" + text,
                       "model.yaml"),
            model);
  return model;
}
// A shipped model with keys changed, as --set does.
Model what_if(const std::string& name, const std::vector<std::pair<std::string, std::string>>& changes) {
  Yaml tree = load_config("models", name);
  for (const auto& [key, value] : changes) set_path(tree, key, parse_yaml(value, "--set"), nullptr);
  Model model;
  read_spec(tree, model);
  return model;
}

// arXiv 2403.19887 Table 1: at 256K tokens and 16 bits. Jamba's 28 Mamba layers keep 8192 x 16 states and 3 x
// 8192 convolution inputs each, whatever the context.
TEST(KvShapes, JambaMixtralAndLlama2At256KWithTheStateApart) {
  const std::int64_t context = 256 * 1024;
  const KvLayout jamba = layout_of("jamba-v0.1");
  EXPECT_EQ(jamba.bytes_held(context), 4 * kGiB);
  EXPECT_EQ(jamba.state_bytes(), 28 * (8192 * 16 + 3 * 8192) * 2);
  EXPECT_EQ(layout_of("mixtral-8x7b").bytes_held(context), 32 * kGiB);
  EXPECT_EQ(layout_of("llama-2-7b").bytes_held(context), 128 * kGiB);
}

// 8192 B a token and layer: 62 layers in full against 10 in full and 52 of 1024 tokens.
TEST(KvShapes, Gemma3AllGlobalAgainstItsWindowsAt32K) {
  const Model all_global = what_if("gemma-3-27b", {{"pattern", "[global]"}});
  EXPECT_EQ(make_kv_layout(all_global, DType::bf16).bytes_held(32768), 31 * kGiB / 2);
  const KvLayout windows = layout_of("gemma-3-27b");
  EXPECT_EQ(windows.bytes_held(32768), 8192LL * (10 * 32768 + 52 * 1024));
  EXPECT_NEAR(gib(windows.bytes_held(32768)), 2.906, 0.0005);
}

// arXiv 2310.06825: a rolling buffer of 4096 at 32K.
TEST(KvShapes, MistralsRollingBufferSavesEightfold) {
  const Model full = what_if("mistral-7b-v0.1", {{"kinds", "[{name: full}]"}, {"pattern", "[full]"}});
  EXPECT_EQ(make_kv_layout(full, DType::bf16).bytes_held(32768),
            8 * layout_of("mistral-7b-v0.1").bytes_held(32768));
}

// vLLM blog 2026-04-24, appendix. An entry is 512 x 2 B; index keys 128 x 2 B on the stride-4 layers.
TEST(KvShapes, DeepSeekV4AtAMillionTokens) {
  const KvLayout v4 = layout_of("deepseek-v4-pro");
  std::int64_t c4a = 0, c128a = 0;
  for (const KvGroup& group : v4.groups)
    (group.name.rfind("c4a", 0) == 0 ? c4a : c128a) += group.bytes_held(kMillion);
  EXPECT_EQ(c4a, 30 * ((128 + kMillion / 4) * 1024 + kMillion / 4 * 256));
  EXPECT_EQ(c128a, 31 * (128 + kMillion / 128) * 1024);
  EXPECT_NEAR(static_cast<double>(c4a) / 30 / kMiB, 320.1, 0.05);
  EXPECT_NEAR(static_cast<double>(c128a) / 31 / kMiB, 8.1, 0.05);
  EXPECT_NEAR(gib(v4.bytes_held(kMillion)), 9.6246, 0.00005);
  EXPECT_EQ(v4.state_bytes(), 0);
}

// The same appendix: 61 layers of DeepSeek-V3.2, 1152 + 256 B a token and layer, 83.9 GiB; 8.7 times V4's.
TEST(KvShapes, DeepSeekV32AtAMillionTokens) {
  const std::int64_t v32 = layout_of("deepseek-v3.2").bytes_held(kMillion);
  EXPECT_EQ(v32, 61 * 1408 * kMillion);
  EXPECT_NEAR(gib(v32), 83.9, 0.05);
  EXPECT_NEAR(
      static_cast<double>(v32) / static_cast<double>(layout_of("deepseek-v4-pro").bytes_held(kMillion)), 8.7,
      0.05);
}

// FlashMLA: 512 fp8 values, 4 fp32 scales, 64 rotary values in bf16; beside it an index key of 128 + 4 B.
TEST(KvShapes, Fp8LatentRecordIs656BytesPerTokenAndLayer) {
  const KvLayout layout = layout_of("deepseek-v3.2", DType::fp8);
  EXPECT_EQ(layout.groups[0].entry_bytes, 656);
  EXPECT_EQ(layout.groups[0].bytes_per_token(), 61 * 656);
  EXPECT_EQ(layout.groups[1].entry_bytes, 132);
}

// arXiv 2405.12981: CLA2 halves what MQA leaves, and what GQA leaves.
TEST(KvShapes, CrossLayerAttentionHalvesMqaAndGqa) {
  for (const char* kv_heads : {"1", "8"}) {
    const Model plain = what_if("llama-3.1-8b", {{"attention.kv_heads", kv_heads}});
    const Model cla2 = what_if(
        "llama-3.1-8b", {{"attention.kv_heads", kv_heads}, {"sharing", "{kind: adjacent, factor: 2}"}});
    EXPECT_EQ(make_kv_layout(plain, DType::bf16).bytes_held(5000),
              2 * make_kv_layout(cla2, DType::bf16).bytes_held(5000));
  }
}

// arXiv 2411.02265: 8 of 80 heads and every second layer leave 8/80/2 = 5 % of MHA; so does any head width.
TEST(KvShapes, HunyuanLargeKeepsFivePercentOfMha) {
  const KvLayout layout = layout_of("hunyuan-large");
  EXPECT_EQ(layout.groups[0].layers_held, 64 / 2);  // L / cla_share_factor
  const Model mha = what_if(
      "hunyuan-large", {{"attention.kv_heads", "80"}, {"sharing.kind", "none"}, {"sharing.factor", "1"}});
  EXPECT_EQ(make_kv_layout(mha, DType::bf16).bytes_per_token(), 20 * layout.bytes_per_token());
}

// 35 layers, the last 15 reuse: 20 hold 2 heads x 256 x 2 x 2 B.
TEST(KvShapes, Gemma3nHoldsTwentyLayers) {
  std::int64_t held = 0;
  const KvLayout layout = layout_of("gemma-3n-e4b");
  for (const KvGroup& group : layout.groups) held += group.layers_held;
  EXPECT_EQ(held, 20);
  EXPECT_EQ(layout.bytes_per_token(), 20 * 2 * 2 * 256 * 2);
}

// DeepSeek-V2 report: a latent of 4 head widths and half a rotary head are as much as 2.25 GQA groups.
TEST(KvShapes, ALatentOfFourHeadsAndAHalfEqualsTwoAndAQuarterGroups) {
  const MlaSpec mla = *load_model("deepseek-v2").attention.mla;
  EXPECT_EQ(mla.kv_lora_rank, 4 * 128);
  EXPECT_EQ(mla.rope_dim, 128 / 2);
  const std::int64_t one_group = 2 * 128 * 2 * 60;  // K and V of one head, 60 layers
  EXPECT_EQ(4 * layout_of("deepseek-v2").bytes_per_token(), 9 * one_group);
}

// DeepSeek-V2 report: 93.3 % less than DeepSeek 67B (95 layers of 8 key/value heads x 128). The arithmetic
// needs the 6 bits to which its deployment quantises the latents; at 16 bits it is 82.2 %.
TEST(KvShapes, DeepSeekV2HoldsAFifteenthOfDeepSeek67BAtSixBits) {
  const auto v67 = static_cast<double>(95 * 2 * 8 * 128 * 2);
  KvScheme six;
  six.bits = 6;
  const auto deployed = static_cast<double>(60 * six.bytes(1, 512 + 64));
  EXPECT_NEAR(100 * (1 - deployed / v67), 93.3, 0.1);
  EXPECT_NEAR(100 * (1 - static_cast<double>(layout_of("deepseek-v2").bytes_per_token()) / v67), 82.2, 0.1);
}

TEST(KvShapes, BytesPerTokenOfPublishedConfigs) {
  const std::pair<const char*, std::int64_t> rows[] = {
      {"llama-2-7b", 524288}, {"llama-2-13b", 819200},  {"llama-2-70b", 327680},
      {"opt-13b", 819200},    {"llama-65b", 2621440},   {"qwen3-8b", 147456},
      {"qwen3-32b", 262144},  {"qwen3-30b-a3b", 98304}, {"qwen3-235b-a22b", 192512},
  };
  for (const auto& [name, bytes] : rows) EXPECT_EQ(layout_of(name).bytes_per_token(), bytes) << name;
  EXPECT_EQ(layout_of("llama-3.1-70b").bytes_held(128 * 1024), 40 * kGiB);
}

// 25 local layers of 8 x 256 and 5 global ones of 2 x 512; K and V are both cached. At 32K the local ones
// stop at 1024 tokens.
TEST(KvShapes, Gemma4LocalAndGlobalHeadsDiffer) {
  const KvLayout layout = layout_of("gemma-4-26b-a4b");
  const std::int64_t local = 2 * 8 * 256 * 2, global = 2 * 2 * 512 * 2;
  EXPECT_EQ(layout.bytes_per_token(), 25 * local + 5 * global);
  EXPECT_EQ(layout.unbounded_bytes_per_token(), 5 * global);
  EXPECT_EQ(layout.bytes_held(32768), 25 * local * 1024 + 5 * global * 32768);
  // Were K = V one cached tensor, the global part would halve.
  const Model tied = what_if("gemma-4-26b-a4b", {{"attention.k_equals_v", "cache"}});
  EXPECT_EQ(make_kv_layout(tied, DType::bf16).unbounded_bytes_per_token(),
            5 * global);  // the kind says weights
}

// Nine global layers of 4 heads, 39 window layers of 8; keys 192 wide, values 128.
TEST(KvShapes, MiMoWindowLayersHaveTwiceTheHeads) {
  const KvLayout layout = layout_of("mimo-v2-flash");
  const std::int64_t local = 8 * (192 + 128) * 2, global = 4 * (192 + 128) * 2;
  EXPECT_EQ(layout.bytes_per_token(), 39 * local + 9 * global);
  EXPECT_EQ(layout.bytes_held(100'000), 39 * local * 128 + 9 * global * 100'000);
}

// arXiv 2405.05254: one layer of all tokens and half the layers with a window, against all layers in full.
TEST(KvShapes, YocoKeepsOneLayerAndHalfTheWindows) {
  const std::string self = "layers: 26\nattention: {heads: 8, kv_heads: 8, head_dim: 128}\n";
  const Model yoco = model_of(self +
                              "kinds: [{name: self, retention: window, window: 1024}, {name: cross}]\n"
                              "pattern: [self*13, cross*13]\n"
                              "sharing: {kind: first, of: cross, skip_prefill: true}\n");
  const KvLayout layout = make_kv_layout(yoco, DType::bf16);
  const std::int64_t layer = 2 * 8 * 128 * 2;
  EXPECT_EQ(layout.bytes_held(kMillion), layer * (kMillion + 13 * 1024));
  EXPECT_EQ(layout.decode_read_bytes(kMillion), layer * (13 * kMillion + 13 * 1024));
}

// arXiv 2405.10637: all but w warm-up layers share one: L / (w + 1).
TEST(KvShapes, CondensedLayersHoldOneLayerAndTheWarmUp) {
  const Model model = what_if("llama-2-7b", {{"sharing", "{kind: condensed, warmup: 2, prefill_passes: 9}"}});
  const KvLayout layout = make_kv_layout(model, DType::bf16);
  EXPECT_EQ(32 * layout.bytes_held(1000), 3 * layout_of("llama-2-7b").bytes_held(1000));
  EXPECT_EQ(layout.decode_read_bytes(1000), layout_of("llama-2-7b").decode_read_bytes(1000));
}

// arXiv 2405.14366 abstract: "up to 5.02x" with 4 bit. 16 / (4 + 32/128) x 32 / 24 = 5.02 is the merged
// tensor alone; with the magnitudes of the 16 merged layers and 5 % kept tokens it is 4.77.
TEST(KvShapes, MiniCacheWithFourBitsCompressesFivefold) {
  const Model model =
      what_if("llama-2-7b", {{"sharing", "{kind: merged, factor: 2, from: 16, kept_every: 20}"}});
  const KvLayout layout = make_kv_layout(model, parse_kv_precision("int4", DType::bf16));
  const auto full = static_cast<double>(layout_of("llama-2-7b").bytes_held(2000));
  EXPECT_NEAR(full / static_cast<double>(layout.groups[0].bytes_held(2000)), 5.02, 0.005);
  EXPECT_NEAR(full / static_cast<double>(layout.bytes_held(2000)), 5.02, 0.1 * 5.02);
}

// arXiv 2410.18517: sharing 8 or 9 of 32 layers saves 25 to 30 %.
TEST(KvShapes, KvSharerSavesTheShareOfReplacedLayers) {
  const Model model =
      what_if("llama-2-7b",
              {{"sharing", "{kind: map, map: [20=3, 21=4, 22=5, 23=6, 24=7, 25=8, 26=9, 27=10, 28=11]}"}});
  EXPECT_EQ(32 * make_kv_layout(model, DType::bf16).bytes_held(1000),
            23 * layout_of("llama-2-7b").bytes_held(1000));
}

// arXiv 2404.07143 Table 2: 114 times less memory than a 65K kNN memory. 12 layers of 8 heads x 128; the
// other side keeps 65,536 tokens in one layer and a segment of 2048 in the other eleven.
TEST(KvShapes, InfiniAttentionAgainstA65KMemory) {
  const std::string heads = "layers: 12\nattention: {heads: 8, kv_heads: 8, head_dim: 128}\n";
  const Model infini = model_of(
      heads + "kinds: [{name: s, retention: chunked, window: 2048, linear_memory: true}]\npattern: [s]\n");
  const Model knn = model_of(
      heads +
      "kinds: [{name: xl, retention: window, window: 2048}, {name: knn, retention: window, window: 65536}]\n"
      "pattern: [xl*8, knn, xl*3]\n");
  const std::int64_t state = make_kv_layout(infini, DType::bf16).state_bytes();
  EXPECT_EQ(state, 12 * 8 * 128 * (128 + 1) * 2);
  const auto memory = static_cast<double>(make_kv_layout(knn, DType::bf16).bytes_held(kMillion));
  EXPECT_NEAR(memory / static_cast<double>(state), 114, 0.05 * 114);
}

// StreamingLLM: four sinks and a window stay the same from 1 K to 4 M tokens.
TEST(KvShapes, SinksAndAWindowStayFlatToFourMillionTokens) {
  const Model model =
      what_if("llama-2-7b",
              {{"kinds", "[{name: s, retention: window, window: 1020, sinks: 4}]"}, {"pattern", "[s]"}});
  const KvLayout layout = make_kv_layout(model, DType::bf16);
  EXPECT_EQ(layout.bytes_held(4'000'000), layout.bytes_held(1024));
  EXPECT_EQ(layout.decode_read_bytes(4'000'000), layout.decode_read_bytes(1024));
}

// KIVI (arXiv 2402.02750): 2 bits and a 16-bit scale and zero point per 32 numbers are 3 bits.
TEST(KvShapes, EffectiveBitsOfQuantisedFormats) {
  const auto bits = [](const char* name) {
    return parse_kv_precision(name, DType::bf16).k.effective_bits(128);
  };
  EXPECT_EQ(bits("kivi-2"), 3.0);
  EXPECT_EQ(bits("kivi-4"), 5.0);
  EXPECT_EQ(bits("nvfp4"), 4.5);
  EXPECT_EQ(bits("int4"), 4.25);
  EXPECT_EQ(bits("fp8"), 8.0);
}

}  // namespace
}  // namespace tessera
