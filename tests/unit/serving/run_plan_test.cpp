// What a configuration comes to before anything is played: what works together, and what changes nothing.
#include "sim/serving/run_plan.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/report/summary.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using Keys = std::vector<std::string>;

RunConfig config_of(Keys keys) {
  return load_run_config(TESSERA_SOURCE_DIR "/configs/quickstart.yaml", keys, "");
}
RunResult planned(const Keys& keys) {
  RunResult result;
  result.config = config_of(keys);
  plan_run(result.config, 0, result);
  return result;
}
std::string problem_of(const Keys& keys) {
  try {
    planned(keys);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}
bool warns(const RunResult& result, const std::string& part) {
  for (const std::string& warning : result.warnings)
    if (warning.find(part) != std::string::npos) return true;
  return false;
}
nlohmann::json kv_of(const Keys& keys, const std::string& trace) {
  const std::string path = test::scratch("trace.csv");
  std::ofstream(path) << trace;
  return nlohmann::json::parse(
      summary_json(simulate(load_run_config(TESSERA_SOURCE_DIR "/configs/quickstart.yaml", keys, path)), {}));
}

TEST(RunPlan, QuickstartHasNothingToWarnOf) { EXPECT_TRUE(planned({}).warnings.empty()); }

TEST(RunPlan, KeysThatChangeNothingAreNamed) {
  EXPECT_TRUE(warns(planned({"sampling.mode=beam"}), "sampling.mode: beam changes nothing without"));
  EXPECT_TRUE(warns(planned({"memory.snapshot_tokens=64"}), "memory.snapshot_tokens changes nothing"));
  EXPECT_TRUE(warns(planned({"memory.reuse_passed=true"}), "memory.reuse_passed changes nothing"));
  EXPECT_TRUE(
      warns(planned({"memory.vmm.page_kib=64"}), "memory.vmm changes nothing without memory.allocator"));
  EXPECT_TRUE(warns(planned({"memory.tier_load=layerwise"}), "memory.tier_load changes nothing"));
  EXPECT_TRUE(warns(planned({"memory.swap_gib=8"}), "memory.swap_gib changes nothing"));
  EXPECT_TRUE(warns(planned({"trace.closed_loop={concurrency: 4}", "trace.rate_scale=2"}),
                    "trace.rate_scale changes nothing"));
  EXPECT_FALSE(warns(planned({"memory.swap_gib=8", "memory.preemption=swap"}), "changes nothing"));
}

// The state that recurrent layers had after a prefix is not in its blocks.
TEST(RunPlan, ModelsWithStatesReuseAPrefixOnlyFromSnapshots) {
  const std::string shared =
      "request_id,arrival_s,input_tokens,output_tokens,block16_ids\n"
      "a,0,64,2,1 2 3 4\nb,100,64,2,1 2 3 4\nc,200,64,2,1 2 3 4\n";
  const Keys jamba{"model=jamba-v0.1", "gpu=h200-sxm"};
  const auto with = [&jamba](const Keys& more) {
    Keys keys = jamba;
    keys.insert(keys.end(), more.begin(), more.end());
    return keys;
  };
  EXPECT_EQ(kv_of(with({"memory.block_scope=all-layers"}), shared)["kv"]["prefix_hit_ratio"], 0);
  EXPECT_EQ(kv_of(jamba, shared)["kv"]["prefix_hit_ratio"], 0) << "no snapshot within 64 tokens";
  EXPECT_NEAR(kv_of(with({"memory.snapshot_tokens=32"}), shared)["kv"]["prefix_hit_ratio"].get<double>(),
              2 * 32 / 192.0, 1e-12);
  EXPECT_TRUE(warns(planned(with({"memory.block_scope=all-layers"})), "no prefix cache: a block of tokens"));
  EXPECT_NE(problem_of(with({"memory.block_scope=all-layers", "memory.preemption=swap"})).find("recurrent"),
            std::string::npos);
}

TEST(RunPlan, MappedMemoryIsTheSameBytesInRows) {
  for (const char* model : {"llama-3.1-8b", "deepseek-v4-pro"}) {
    const Keys keys{std::string("model=") + model, "gpu=b200-sxm",           "parallel.tp=8",
                    "memory.kv_blocks=20000",      "memory.allocator=paged", "memory.block_scope=all-layers"};
    Keys mapped = keys;
    mapped.insert(mapped.end(), {"memory.allocator=vmm", "memory.vmm.page_kib=64"});
    const RunResult paged = planned(keys), rows = planned(mapped);
    const auto bytes = [](const RunResult& r) { return static_cast<double>(r.kv_blocks * r.block_bytes); };
    EXPECT_LE(bytes(rows), bytes(paged)) << model;
    EXPECT_GT(bytes(rows), 0.99 * bytes(paged)) << model << ": less than a row is lost";
  }
}

TEST(RunPlan, CountsTooLargeToMultiplyAreRefused) {
  for (const char* blocks : {"954437177", "4000000000"})
    EXPECT_NE(problem_of({std::string("memory.kv_blocks=") + blocks, "memory.allocator=vmm",
                          "memory.block_tokens=4096"})
                  .find("expected at most"),
              std::string::npos)
        << blocks;
  EXPECT_NE(problem_of({"replicas=65536", "memory.kv_blocks=100", "memory.block_tokens=1",
                        "memory.tiers=[{name: h, capacity_gib: 1000000, compression: {ratio: 1000}}]"})
                .find("in all engines' tiers"),
            std::string::npos);
}

TEST(RunPlan, EqualPromptsHeldTwiceAreDuplicatesInEveryKindOfMemory) {
  const std::string twice =
      "request_id,arrival_s,input_tokens,output_tokens,block16_ids\n"
      "a,0,160,100,1 2 3 4 5 6 7 8 9 10\nb,0,160,100,1 2 3 4 5 6 7 8 9 10\n";
  double least = 1, most = 0;
  for (const Keys& more :
       {Keys{}, Keys{"memory.block_scope=group"}, Keys{"memory.allocator=vmm", "memory.vmm.page_kib=64"},
        Keys{"memory.allocator=contiguous-oracle"}}) {
    Keys keys{"memory.prefix_cache=off", "memory.kv_blocks=5000"};
    keys.insert(keys.end(), more.begin(), more.end());
    const double share = kv_of(keys, twice)["kv"]["duplicate_fraction"];
    least = std::min(least, share), most = std::max(most, share);
  }
  EXPECT_GT(least, 0.1) << "regions and rows are larger than what they hold";
  EXPECT_LT(most, 0.5) << "half of two equal prompts, less what they answer";
  const double samples = kv_of({"memory.prefix_cache=off", "memory.kv_blocks=5000", "sampling.n=2"},
                               twice)["kv"]["duplicate_fraction"];
  EXPECT_GT(samples, 0.1);
}

TEST(RunPlan, GroupsOfLayersTakeWhatOneTableTakes) {
  const std::string tight = "request_id,arrival_s,input_tokens,output_tokens\na,0,160,1\nb,1,150,11\n";
  for (const char* scope : {"all-layers", "group"}) {
    const auto json = kv_of({"memory.kv_blocks=11", std::string("memory.block_scope=") + scope}, tight);
    EXPECT_EQ(json["completed"], 2) << scope << ": ten blocks are enough for each";
  }
}

}  // namespace
}  // namespace tessera
