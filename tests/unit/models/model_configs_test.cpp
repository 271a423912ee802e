// Every shipped model against published KV bytes per token (bf16, all layers, before any window binds).
#include <gtest/gtest.h>

#include <map>

#include "models/transformer/kv_layout.hpp"
#include "models/transformer/model.hpp"

namespace tessera {
namespace {

const std::map<std::string, std::int64_t> kKvBytesPerToken{
    {"llama-3.1-8b", 131072},
    {"llama-3.1-70b", 327680},
    {"llama-3.1-405b", 516096},
    {"llama-4-scout", 196608},
    {"llama-4-maverick", 196608},
    {"mixtral-8x7b", 131072},
    {"mixtral-8x22b", 229376},
    {"qwen3-8b", 147456},
    {"qwen3-32b", 262144},
    {"qwen3-30b-a3b", 98304},
    {"qwen3-235b-a22b", 192512},
    {"deepseek-v3", 70272},
    {"deepseek-r1", 70272},
    {"deepseek-v3.2", 85888},
    {"kimi-k2", 70272},
    {"gpt-oss-20b", 49152},
    {"gpt-oss-120b", 73728},
    {"glm-5", 109824},
    {"gemma-4-26b-a4b", 25 * (2 * 8 * 256 * 2) + 5 * (2 * 2 * 512 * 2)},
    {"mimo-v2-flash", 39 * (8 * (192 + 128) * 2) + 9 * (4 * (192 + 128) * 2)},
    {"nemotron-h-56b", 40960},
    {"nemotron-3-nano-30b-a3b", 6144},
    {"qwen3.5-35b-a3b", 20480},
    {"llama-2-7b", 524288},
    {"llama-2-13b", 819200},
    {"llama-2-70b", 327680},
    {"llama-65b", 2621440},
    {"mistral-7b-v0.1", 131072},
    {"gemma-2-27b", 376832},
    {"gemma-3-27b", 507904},
    {"gemma-3n-e4b", 40960},
    {"qwen2.5-7b", 57344},
    {"qwen2.5-72b", 327680},
    {"phi-3-mini", 393216},
    {"phi-3-medium", 204800},
    {"phi-4", 204800},
    {"opt-6.7b", 524288},
    {"opt-13b", 819200},
    {"opt-30b", 1376256},
    {"opt-66b", 2359296},
    {"opt-175b", 4718592},
    {"gpt-3-175b", 4718592},
    {"hunyuan-large", 131072},
    {"jamba-v0.1", 16384},
    {"deepseek-v2-lite", 31104},
    {"deepseek-v2", 69120},
    {"deepseek-67b", 95 * 2 * 8 * 128 * 2},
    {"yoco-3b", 14 * 2 * 8 * 128 * 2},  // 13 window layers and one for the other 13
    // 61 windows of 1024 B, 30 x (1024 + 256) B every 4 tokens, 31 x 1024 B every 128.
    {"deepseek-v4-pro", 61 * 1024 + 30 * 1280 / 4 + 31 * 1024 / 128},
};

TEST(ModelConfigs, KvBytesPerTokenAreThePublishedOnes) {
  for (const auto& [name, bytes] : kKvBytesPerToken)
    EXPECT_EQ(make_kv_layout(load_model(name), DType::bf16).bytes_per_token(), bytes) << name;
}

TEST(ModelConfigs, EveryShippedModelIsInTheTable) {
  const std::vector<std::string> names = config_names("models");
  EXPECT_GE(names.size(), kKvBytesPerToken.size());
  for (const std::string& name : names) EXPECT_TRUE(kKvBytesPerToken.contains(name)) << name;
}

TEST(ModelConfigs, EveryShippedModelSaysItsNameAndSource) {
  for (const std::string& name : config_names("models")) {
    const Model model = load_model(name);
    EXPECT_EQ(model.name, name);
    EXPECT_FALSE(model.title.empty()) << name;
    EXPECT_FALSE(model.source.empty()) << name;
  }
}

}  // namespace
}  // namespace tessera
