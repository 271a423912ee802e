// `tessera explain`: bytes worked out by hand, parts that add up, and what a wrong question is answered with.
#include <gtest/gtest.h>

#include "sim/cli/commands.hpp"
#include "tests/support/captured.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

ExplainOptions about(const std::string& what, const std::string& model) {
  ExplainOptions o;
  o.what = what;
  o.model = model;
  o.json = true;
  return o;
}
Json explained(const ExplainOptions& o) {
  const test::Captured run = test::captured([&] { return explain_command(o); });
  EXPECT_EQ(run.code, kOk);
  return run.json();
}
std::string complaint_of(const ExplainOptions& o) {
  return test::complaint([&] { return explain_command(o); });
}

// Llama-3.1-70B: 80 layers, 8 KV heads of 128; K and V of bf16: 80 x 8 x 128 x 2 x 2 = 327,680 bytes a token.
constexpr std::int64_t kLlama70b = 327'680;

TEST(ExplainKv, ATokenOfGroupedHeadsIsLayersTimesHeadsTimesWidthTwice) {
  const Json json = explained(about("kv", "llama-3.1-70b"));
  EXPECT_EQ(json["bytes_per_token"], kLlama70b);
  EXPECT_EQ(json["context"], 4096);
  EXPECT_EQ(json["bytes_at_context"], kLlama70b * 4096);
  EXPECT_EQ(json["state_bytes"], 0);
}

TEST(ExplainKv, RanksSplitHeadsUntilEachHasOneThenHoldCopies) {
  ExplainOptions o = about("kv", "llama-3.1-70b");
  for (const std::int64_t tp : {1, 2, 4, 8}) {
    o.tp = tp;
    EXPECT_EQ(explained(o)["bytes_per_token"], kLlama70b / tp) << tp;
  }
  o.tp = 16;  // 8 heads for 16 ranks: pairs hold the same one
  EXPECT_EQ(explained(o)["bytes_per_token"], kLlama70b / 8);
}

TEST(ExplainKv, AFormatScalesByItsBitsAndScales) {
  ExplainOptions o = about("kv", "llama-3.1-70b");
  const std::pair<const char*, double> bits[] = {
      {"bf16", 16},
      {"fp16", 16},
      {"fp32", 32},
      {"fp8", 8},
      {"int8", 8},
      {"int4", 4 + 32.0 / 128},  // an fp16 scale and zero point for 128 numbers
      {"nvfp4", 4 + 8.0 / 16},   // an fp8 scale for 16
  };
  for (const auto& [format, width] : bits) {
    o.kv_dtype = format;
    const Json json = explained(o);
    EXPECT_EQ(json["bytes_per_token"].get<double>(), kLlama70b / 16.0 * width) << format;
    EXPECT_EQ(json["per_group"][0]["effective_bits"], width) << format;
    EXPECT_EQ(json["kv_dtype"], format);
  }
}

// DeepSeek-V3: a latent of 512 and a rotary key of 64 in bf16, 61 layers, one for all heads and so on every
// rank: 576 x 2 x 61.
TEST(ExplainKv, LatentsAreHeldWholeByEveryRank) {
  ExplainOptions o = about("kv", "deepseek-v3");
  for (const std::int64_t tp : {1, 8}) {
    o.tp = tp;
    EXPECT_EQ(explained(o)["bytes_per_token"], 576 * 2 * 61) << tp;
  }
}

TEST(ExplainKv, AWhatIfChangesTheModelItStartsFrom) {
  ExplainOptions o = about("kv", "llama-3.1-70b");
  o.overrides = {"model.attention.kv_heads=4", "model.layers=40"};
  EXPECT_EQ(explained(o)["bytes_per_token"], kLlama70b / 4);
  o.overrides = {"model.layers=40", "model.layers=20"};
  EXPECT_EQ(explained(o)["bytes_per_token"], kLlama70b / 4) << "the last one counts";
}

TEST(ExplainKv, StagesAddUpToTheModel) {
  for (const char* model : {"llama-3.1-8b", "gemma-3-27b", "jamba-v0.1"}) {
    ExplainOptions o = about("kv", model);
    o.context = "32k";
    const Json whole = explained(o);
    const std::int64_t layers = model == std::string("gemma-3-27b") ? 62 : 32;
    std::int64_t bytes = 0, state = 0;
    for (const std::int64_t first : {std::int64_t{0}, layers / 2}) {
      o.layers = std::to_string(first) + "-" + std::to_string(first == 0 ? layers / 2 - 1 : layers - 1);
      const Json stage = explained(o);
      bytes += stage["bytes_at_context"].get<std::int64_t>();
      state += stage["state_bytes"].get<std::int64_t>();
    }
    EXPECT_EQ(bytes, whole["bytes_at_context"]) << model;
    EXPECT_EQ(state, whole["state_bytes"]) << model;
  }
}

TEST(ExplainKv, GroupsAddUpToTheTotals) {
  for (const char* model : {"gemma-3-27b", "gpt-oss-20b", "deepseek-v3.2", "llama-4-scout", "jamba-v0.1"}) {
    ExplainOptions o = about("kv", model);
    o.context = "32k";
    const Json json = explained(o);
    for (const char* key : {"bytes_at_context", "decode_read_bytes", "decode_write_bytes", "state_bytes"}) {
      std::int64_t sum = 0;
      for (const Json& group : json["per_group"]) sum += group[key].get<std::int64_t>();
      EXPECT_EQ(sum, json[key]) << model << ' ' << key;
    }
  }
}

TEST(ExplainKv, BeyondTheModelsContextIsComputedAndWarnedOf) {
  ExplainOptions o = about("kv", "llama-3.1-8b");  // 131,072 positions
  o.context = "128k";
  EXPECT_TRUE(explained(o)["warnings"].empty());
  o.context = "131073";
  const test::Captured run = test::captured([&] { return explain_command(o); });
  EXPECT_EQ(run.code, kOk);
  EXPECT_EQ(run.json()["warnings"].size(), 1u);
  EXPECT_EQ(run.json()["bytes_at_context"], std::int64_t{131'072} * 131'073);
  EXPECT_NE(run.err.find("warning: "), std::string::npos) << "words go to the other stream";
}

TEST(ExplainKv, ForPeopleItShowsTheFormula) {
  ExplainOptions o = about("kv", "llama-3.1-70b");
  o.json = false;
  const test::Captured run = test::captured([&] { return explain_command(o); });
  EXPECT_NE(run.out.find("8 heads x 128"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("327,680"), std::string::npos) << run.out;
}

TEST(ExplainCapacity, WhatIsLeftOfTheShareIsKvInWholeBlocks) {
  ExplainOptions o = about("capacity", "llama-3.1-8b");
  o.gpu = "h100-sxm";
  const Json json = explained(o);
  const auto bytes = [&json](const char* key) { return json[key].get<std::int64_t>(); };
  const double share = json["total_bytes"].get<double>() * 0.9;
  const std::int64_t taken = bytes("weight_bytes") + bytes("buffer_bytes") + bytes("activation_bytes") +
                             bytes("nontorch_bytes") + bytes("state_bytes");
  EXPECT_NEAR(static_cast<double>(bytes("kv_bytes")), share - static_cast<double>(taken), 1.0)
      << "the share is rounded to a byte";
  EXPECT_EQ(bytes("block_bytes"), 131'072 * 16);
  EXPECT_EQ(bytes("blocks"), bytes("kv_bytes") / bytes("block_bytes"));
  EXPECT_LE(bytes("blocks_low"), bytes("blocks"));
  EXPECT_LE(bytes("blocks"), bytes("blocks_high"));
}

TEST(ExplainCapacity, GrowsWithTheShareAndWithEveryRank) {
  ExplainOptions o = about("capacity", "llama-3.1-8b");
  o.gpu = "h100-sxm";
  std::int64_t before = 0;
  for (const double share : {0.5, 0.6, 0.9, 0.95}) {
    o.utilization = share;
    const std::int64_t blocks = explained(o)["blocks"];
    EXPECT_GT(blocks, before) << share;
    before = blocks;
  }
  o.tp = 2;
  EXPECT_GT(explained(o)["blocks"].get<std::int64_t>(), 2 * before) << "half a block, and fewer weights";
}

// B sequences of n tokens, the first p shared: B n reads become p + B (n - p), which saves (B - 1) p.
TEST(ExplainCascade, SavesAllReadsOfThePrefixButOne) {
  ExplainOptions o = about("cascade", "llama-3.1-8b");
  o.gpu = "h100-sxm";
  o.context = "4k", o.prefix = "3k";
  o.batches = {2, 16, 64};
  const Json rows = explained(o);
  ASSERT_EQ(rows.size(), 3u);
  for (const Json& row : rows) {
    const double batch = row["batch"], n = 4096, p = 3072;
    EXPECT_DOUBLE_EQ(row["kv_read_bytes"], 131'072.0 * batch * n);
    EXPECT_DOUBLE_EQ(row["kv_read_bytes_cascade"], 131'072.0 * (p + batch * (n - p)));
    EXPECT_DOUBLE_EQ(row["saved_fraction"], (batch - 1) * p / (batch * n));
  }
}

TEST(ExplainTier, BothEndsTogetherAreAsFastAsTheirRatesAdded) {
  ExplainOptions o = about("tier", "llama-3.1-8b");
  o.gpu = "h100-sxm";
  o.context = "8000";
  o.links = {"pcie5-h100", "rdma-400g"};
  const Json json = explained(o);
  EXPECT_EQ(json["kv_bytes"], 131'072.0 * 8000);  // 500 whole blocks
  ASSERT_EQ(json["devices"].size(), 2u);
  for (const Json& d : json["devices"]) {
    const double load = d["load_ms"], compute = d["compute_ms"];
    EXPECT_DOUBLE_EQ(d["both_ends_ms"], load * compute / (load + compute));
    EXPECT_EQ(d["faster"], load < compute ? "load" : "compute");
    // What beats the priced threshold by its rate alone is a load that wins, but for latency.
    EXPECT_GE(load, 131'072.0 * 8000 / d["gb_s"].get<double>() * 1e-6);
  }
}

TEST(ExplainTier, APrefixMovesInWholeBlocks) {
  ExplainOptions o = about("tier", "llama-3.1-8b");
  o.gpu = "h100-sxm";
  o.links = {"pcie5-h100"};
  o.context = "1";
  const double one = explained(o)["kv_bytes"];
  EXPECT_EQ(one, 131'072.0 * 16);
  o.context = "17";
  EXPECT_EQ(explained(o)["kv_bytes"], 2 * one);
}

TEST(ExplainSwap, CopiesAreBlocksOrBlocksTimesKAndVOfLayers) {
  ExplainOptions o = about("swap", "llama-3.1-8b");
  o.gpu = "h100-sxm";
  o.context = "1000";
  for (const char* unit : {"block", "layer"}) {
    o.copy_unit = unit;
    const std::int64_t pieces = unit == std::string("block") ? 1 : 2 * 32;
    const Json json = explained(o);
    ASSERT_EQ(json["rows"].size(), 9u);
    for (const Json& row : json["rows"]) {
      const std::int64_t block = row["block_tokens"];
      EXPECT_EQ(row["copies_one_way"], (1000 + block - 1) / block * pieces) << unit << ' ' << block;
      EXPECT_EQ(row["copy_bytes"].get<double>(),
                131'072.0 * static_cast<double>(block) / static_cast<double>(pieces));
      EXPECT_EQ(row["faster"], row["swap_ms"] < row["recompute_ms"] ? "swap" : "recompute");
    }
  }
}

TEST(ExplainErrors, SayWhatIsMissingOrMeant) {
  struct {
    const char *what, *model, *words;
  } const cases[] = {
      {"kv", "", "explain kv: --model is missing"},
      {"kv", "lama-2-7b", "did you mean 'llama-2-7b'?"},
      {"capcity", "llama-2-7b", "did you mean 'capacity'?"},
      {"capacity", "llama-2-7b", "explain capacity: --gpu is missing"},
      {"tier", "llama-2-7b", "explain tier: --gpu is missing"},
      {"swap", "llama-2-7b", "explain swap: --gpu is missing"},
      {"cascade", "llama-2-7b", "explain cascade: --gpu is missing"},
  };
  for (const auto& c : cases)
    EXPECT_NE(complaint_of(about(c.what, c.model)).find(c.words), std::string::npos)
        << c.what << ": " << complaint_of(about(c.what, c.model));
}

TEST(ExplainErrors, WhatIfsAreCheckedLikeTheFile) {
  ExplainOptions o = about("kv", "llama-2-7b");
  const std::pair<const char*, const char*> cases[] = {
      {"model.attention.kv_heads", "expected model.KEY=VALUE"},
      {"attention.kv_heads=4", "expected model.KEY=VALUE"},
      {"model.attention.kv_head=4", "did you mean 'kv_heads'?"},
      {"model.layers=0", "layers: 0 is out of range"},
      {"model.attention.kv_heads=5", "5"},  // does not divide 32 query heads
      {"model.layers.x=1", "holds a value, not a map"},
  };
  for (const auto& [text, words] : cases) {
    o.overrides = {text};
    const std::string message = complaint_of(o);
    EXPECT_NE(message, "no error") << text;
    EXPECT_NE(message.find(words), std::string::npos) << text << ": " << message;
  }
}

TEST(ExplainErrors, AStageLiesWithinTheModel) {
  ExplainOptions o = about("kv", "llama-2-7b");  // 32 layers
  for (const char* layers : {"0-32", "5-4", "-1-3", "3", "a-b", "0-31x", "0--1", "0-", " 0-3"}) {
    o.layers = layers;
    EXPECT_NE(complaint_of(o).find("expected FIRST-LAST with 0 <= FIRST <= LAST < 32"), std::string::npos)
        << layers;
  }
  o.layers = "31-31";
  EXPECT_EQ(explained(o)["bytes_per_token"], 2 * 32 * 128 * 2);
}

TEST(ExplainErrors, ASharedPrefixIsShorterThanTheContext) {
  ExplainOptions o = about("cascade", "llama-3.1-8b");
  o.gpu = "h100-sxm";
  o.context = "1000";
  for (const char* prefix : {"0", "1000", "1001"}) {
    o.prefix = prefix;
    EXPECT_NE(complaint_of(o).find("expected 1 to 999"), std::string::npos) << prefix;
  }
}

}  // namespace
}  // namespace tessera
