// `list` and `config`: every name scripts rely on is there, JSON and table say the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "models/base/spec.hpp"
#include "models/hardware/gpu.hpp"
#include "sim/cli/commands.hpp"
#include "tests/support/captured.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json listed(const std::string& what) {
  const test::Captured run = test::captured([&] { return list_command(what, true); });
  EXPECT_EQ(run.code, kOk) << what;
  return run.json();
}
std::set<std::string> names_of(const Json& rows) {
  std::set<std::string> names;
  for (const Json& row : rows) names.insert(row["name"]);
  return names;
}

TEST(List, HoldsTheNamesThatScriptsRelyOn) {
  const std::map<std::string, std::vector<std::string>> promised{
      {"gpus",
       {"a100-sxm-40g", "a100-sxm-80g", "a40", "a800-sxm", "b200-sxm", "h100-sxm", "h200-sxm", "h800-sxm",
        "l40s", "rtx-3090", "rtx-4090", "rtx-pro-6000", "t4"}},
      {"models",
       {"llama-2-7b", "llama-3.1-70b", "qwen3-32b", "qwen3-30b-a3b", "mixtral-8x7b", "deepseek-v3", "opt-13b",
        "gemma-3-27b", "gpt-oss-20b", "mistral-7b-v0.1", "jamba-v0.1", "hunyuan-large"}},
      {"schedulers", {"vllm", "sarathi", "sglang"}},
      {"engines", {"vllm-0.19", "vllm-0.6", "ideal"}},
      {"policies", {"lru", "s3-fifo", "arc", "belady", "ttl", "gdsf", "sieve", "random"}},
      {"formats", {"azure", "mooncake", "vidur", "burstgpt", "bailian", "servegen", "tessera"}},
  };
  for (const auto& [what, names] : promised) {
    const std::set<std::string> there = names_of(listed(what));
    for (const std::string& name : names) EXPECT_TRUE(there.contains(name)) << what << ' ' << name;
  }
}

TEST(List, NamesAreUniqueExplainedAndTheSameInTheTable) {
  for (const char* what :
       {"gpus", "models", "shapes", "policies", "schedulers", "formats", "engines", "fabrics", "tiers"}) {
    const Json rows = listed(what);
    ASSERT_FALSE(rows.empty()) << what;
    EXPECT_EQ(names_of(rows).size(), rows.size()) << what << " lists a name twice";
    const test::Captured table = test::captured([&] { return list_command(what, false); });
    EXPECT_EQ(table.code, kOk);
    for (const Json& row : rows) {
      const std::string name = row["name"];
      EXPECT_TRUE(("\n" + table.out).find("\n" + name) != std::string::npos) << what << ' ' << name;
      const char* text = row.contains("doc") ? "doc" : "title";
      EXPECT_FALSE(row[text].get<std::string>().empty()) << what << ' ' << name;
    }
    const auto lines = std::count(table.out.begin(), table.out.end(), '\n');
    const bool headed = what == std::string("gpus") || what == std::string("models");
    EXPECT_EQ(static_cast<std::size_t>(lines), rows.size() + (headed ? 1 : 0)) << what;
  }
}

TEST(List, GpusShowTheUnitsPeopleBuyThemBy) {
  for (const Json& row : listed("gpus")) {
    const Gpu gpu = load_gpu(row["name"]);
    EXPECT_DOUBLE_EQ(row["memory_gib"], static_cast<double>(gpu.memory_bytes) / (1024.0 * 1024 * 1024));
    EXPECT_DOUBLE_EQ(row["l2_mib"], static_cast<double>(gpu.l2_bytes) / (1024.0 * 1024));
    EXPECT_DOUBLE_EQ(row["hbm_gb_s"], gpu.hbm_gb_s.value);
    EXPECT_EQ(row["gpus_per_node"], gpu.gpus_per_node.value);
  }
}

// Published parameter counts, to the digits their makers print.
TEST(List, ModelsHaveTheParametersOfTheirCards) {
  std::map<std::string, double> parameters;
  for (const Json& row : listed("models")) parameters[row["name"]] = row["parameters"];
  EXPECT_NEAR(parameters["llama-2-7b"] * 1e-9, 6.74, 0.005);
  EXPECT_NEAR(parameters["llama-3.1-8b"] * 1e-9, 8.03, 0.005);
  EXPECT_NEAR(parameters["llama-3.1-70b"] * 1e-9, 70.55, 0.05);
  EXPECT_NEAR(parameters["mixtral-8x7b"] * 1e-9, 46.7, 0.05);
  EXPECT_NEAR(parameters["deepseek-v3"] * 1e-9, 671, 0.5);
}

TEST(List, AWrongWordIsAnsweredWithTheNearest) {
  for (const auto& [asked, meant] :
       {std::pair{"gpu", "gpus"}, std::pair{"model", "models"}, std::pair{"polices", "policies"}})
    EXPECT_NE(test::complaint([&] {
                return list_command(asked, false);
              }).find(std::string("did you mean '") + meant + "'?"),
              std::string::npos)
        << asked;
}

Json schema() {
  return test::captured([] { return config_schema_command(true); }).json();
}
Json row_of(const std::string& key) {
  for (const Json& row : schema())
    if (row["key"] == key) return row;
  ADD_FAILURE() << key << " is not in the schema";
  return {};
}

TEST(ConfigSchema, HoldsTheKeysAndDefaultsOfTheInterface) {
  const std::pair<const char*, const char*> promised[] = {
      {"parallel.tp", "1"},
      {"parallel.pp", "1"},
      {"parallel.dp", "1"},
      {"replicas", "1"},
      {"engine.max_model_len", "null"},
      {"memory.allocator", "paged"},
      {"memory.gpu_memory_utilization", "0.9"},
      {"memory.kv_blocks", "null"},
      {"memory.kv_dtype", "auto"},
      {"memory.prefix_cache", "hash"},
      {"cost.source", "auto"},
      {"trace.format", "auto"},
      {"trace.limit", "null"},
      {"trace.rate_scale", "1"},
      {"slo.ttft_ms", "2000"},
      {"slo.tpot_ms", "200"},
      {"seed", "0"},
      {"fabric", "auto"},
  };
  for (const auto& [key, value] : promised) EXPECT_EQ(row_of(key)["default"], value) << key;
  for (const char* key : {"gpu", "model"}) EXPECT_TRUE(row_of(key)["required"]) << key;
}

TEST(ConfigSchema, NamesUnitsRangesAndOptions) {
  EXPECT_EQ(row_of("slo.ttft_ms")["unit"], "ms");
  EXPECT_EQ(row_of("memory.block_tokens")["unit"], "tokens");
  EXPECT_EQ(row_of("memory.block_tokens")["range"], ">= 1, <= 4096");
  EXPECT_EQ(row_of("memory.gpu_memory_utilization")["range"], ">= 0.01, <= 1");
  EXPECT_EQ(row_of("seed")["range"], ">= 0");
  EXPECT_EQ(row_of("memory.allocator")["options"],
            Json({"paged", "contiguous-max", "contiguous-pow2", "contiguous-oracle", "vmm"}));
  EXPECT_EQ(row_of("cost.source")["options"], Json({"auto", "roofline", "table", "tile"}));
}

std::string explanation(const std::string& key) {
  return test::captured([&] { return config_explain_command(key); }).out;
}

TEST(ConfigExplain, OneKeyIsOneEntryAndAGroupIsAllBelowIt) {
  EXPECT_EQ(explanation("seed"), "seed\n  seed of everything random\n  type: integer, >= 0, default 0\n");
  const std::string slo = explanation("slo");
  EXPECT_NE(slo.find("\nslo.ttft_ms\n"), std::string::npos);
  EXPECT_NE(slo.find("\nslo.tpot_ms\n"), std::string::npos);
  EXPECT_EQ(slo.find("seed"), std::string::npos);
  EXPECT_EQ(explanation("trace").find("memory."), std::string::npos) << "nor keys of other groups";
}

TEST(ConfigExplain, SaysWhatMustBeGiven) {
  EXPECT_NE(explanation("gpu").find("required"), std::string::npos);
  EXPECT_NE(explanation("memory.kv_blocks").find("default null"), std::string::npos);
}

TEST(ConfigExplain, AWordThatOnlyBeginsLikeAKeyIsNone) {
  EXPECT_EQ(test::complaint([] { return config_explain_command("memory.kv_block"); }),
            "config explain: 'memory.kv_block' is not a key, did you mean 'memory.kv_blocks'?");
  EXPECT_NE(test::complaint([] { return config_explain_command(""); }), "no error");
}

}  // namespace
}  // namespace tessera
