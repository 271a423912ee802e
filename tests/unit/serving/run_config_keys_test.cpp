// The keys of a run config one by one: which values are the last that are taken, in which unit, and which
// combinations are refused with which reason. Scripts rely on these, so they are written out here.
#include <gtest/gtest.h>

#include "models/base/text.hpp"
#include "sim/serving/run_plan.hpp"

namespace tessera {
namespace {

using Keys = std::vector<std::string>;

RunConfig loaded(const Keys& keys) {
  return load_run_config(TESSERA_SOURCE_DIR "/configs/quickstart.yaml", keys, "");
}
std::string reading(const Keys& keys) {
  try {
    loaded(keys);
  } catch (const InputError& error) {
    return error.what();
  }
  return "ok";
}
std::string planning(const Keys& keys) {
  try {
    RunResult result;
    result.config = loaded(keys);
    plan_run(result.config, 0, result);
  } catch (const InputError& error) {
    return error.what();
  }
  return "ok";
}

struct Range {
  const char* key;
  const char* below;  // "" where nothing is below
  const char* least;
  const char* most;
  const char* above;
  const char* expected;
};

TEST(RunConfigKeys, TakeTheirRangeWithBothEndsAndNothingBeyond) {
  const Range ranges[] = {
      {"parallel.tp", "0", "1", "65536", "65537", "a number from 1 to 65536"},
      {"replicas", "0", "1", "65536", "65537", "a number from 1 to 65536"},
      {"engine.max_num_seqs", "0", "1", "2048", "65537", "a number from 1 to 65536"},
      {"engine.max_num_batched_tokens", "0", "256", "4194304", "4194305",
       "a number of tokens from 1 to 4194304"},
      {"engine.max_model_len", "1", "2", "1000000", "", "a number of tokens at least 2"},
      {"memory.block_tokens", "0", "1", "4096", "4097", "a number of tokens from 1 to 4096"},
      {"memory.gpu_memory_utilization", "0.0099", "0.01", "1", "1.0001", "a number from 0.01 to 1"},
      {"memory.kv_blocks", "0", "1", "4000000000", "4000000001", "a number from 1 to 4000000000"},
      {"memory.snapshot_tokens", "0", "1", "1000000000", "1000000001", "a number of tokens from 1 to"},
      {"memory.vmm.page_kib", "3", "4", "1048576", "1048577", "a number of KiB from 4 to 1048576"},
      {"memory.vmm.map_us", "-0.1", "0", "10000", "10000.1", "a number of us from 0 to 10000"},
      {"memory.swap_gib", "-1", "0", "1000000", "1000001", "a number of GiB from 0 to 1000000"},
      {"sampling.n", "0", "1", "64", "65", "a number from 1 to 64"},
      {"sampling.survival", "-0.01", "0", "1", "1.01", "a number from 0 to 1"},
      {"trace.limit", "0", "1", "9007199254740992", "", "a number at least 1"},
      {"trace.rate_scale", "0", "0.000001", "1000000", "1000001", "a number from 1e-06 to 1000000"},
      {"trace.shared_prefix_tokens", "-1", "0", "100000000", "100000001", "a number of tokens from 0 to"},
      {"slo.ttft_ms", "-1", "0", "1e9", "", "a number of ms at least 0"},
      {"slo.tpot_ms", "-1", "0", "1e9", "", "a number of ms at least 0"},
      {"seed", "-1", "0", "9007199254740992", "", "a number at least 0"},
      {"engine.profile.async_depth", "0", "1", "8", "9", "a number from 1 to 8"},
      {"engine.profile.host_base_us", "-1", "0", "1000000", "1000001", "a number of us from 0 to 1000000"},
      {"engine.profile.admission.watermark", "-0.1", "0", "0.5", "0.51", "a number from 0 to 0.5"},
      {"gpu.hbm_gb_s", "0.9", "1", "1000000", "1000001", "a number of GB/s from 1 to 1000000"},
      {"gpu.sms", "0", "1", "1024", "1025", "a number from 1 to 1024"},
  };
  for (const Range& r : ranges) {
    const std::string key = r.key;
    EXPECT_EQ(reading({key + "=" + r.least}), "ok") << key;
    EXPECT_EQ(reading({key + "=" + r.most}), "ok") << key;
    for (const std::string value : {r.below, r.above}) {
      if (value.empty()) continue;
      const std::string message = reading({key + "=" + value});
      EXPECT_NE(message.find(key + ": " + value + " is out of range, expected " + r.expected),
                std::string::npos)
          << message;
      EXPECT_EQ(message.rfind("--set " + key + "=" + value + ":", 0), 0u)
          << "the place is the option: " << message;
    }
  }
}

TEST(RunConfigKeys, NullGivesANumberBackToWhoeverDerivesIt) {
  for (const char* key : {"engine.max_num_seqs", "engine.max_num_batched_tokens", "engine.max_model_len",
                          "memory.kv_blocks", "memory.block_tokens", "memory.snapshot_tokens", "trace.limit"})
    EXPECT_EQ(reading({std::string(key) + "=3000", std::string(key) + "=null"}), "ok") << key;
  EXPECT_FALSE(loaded({"memory.kv_blocks=3000", "memory.kv_blocks=null"}).memory.kv_blocks.has_value());
  EXPECT_EQ(loaded({"memory.kv_blocks=3000"}).memory.kv_blocks, 3000);
}

TEST(RunConfigKeys, DefaultsOfTheEngineAreItsProfiles) {
  const EngineProfile profile = load_engine_profile("sarathi");
  const RunConfig config =
      loaded({"engine.profile=sarathi", "engine.max_num_seqs=null", "engine.max_num_batched_tokens=null"});
  const StepLimits limits = limits_of(config);
  EXPECT_EQ(limits.max_num_seqs, profile.default_max_num_seqs);
  EXPECT_EQ(limits.max_batched_tokens, profile.default_max_num_batched_tokens);
  EXPECT_EQ(limits.block_tokens, profile.block_tokens);
  EXPECT_EQ(scheduler_of(config), profile.scheduler);
  EXPECT_EQ(scheduler_of(loaded({"engine.profile=sarathi", "engine.scheduler=vllm"})), "vllm");
  const StepLimits own = limits_of(
      loaded({"engine.max_num_seqs=7", "engine.max_num_batched_tokens=70", "memory.block_tokens=5"}));
  EXPECT_EQ(own.max_num_seqs, 7);
  EXPECT_EQ(own.max_batched_tokens, 70);
  EXPECT_EQ(own.block_tokens, 5);
}

TEST(RunConfigKeys, SwitchesAreTrueOrFalse) {
  for (const char* value : {"true", "false"})
    EXPECT_EQ(reading({std::string("memory.reuse_passed=") + value}), "ok") << value;
  for (const char* value : {"1", "maybe", "[true]", "yes please"})
    EXPECT_NE(reading({std::string("memory.reuse_passed=") + value}).find("memory.reuse_passed"),
              std::string::npos)
        << value;
}

TEST(RunConfigKeys, AMapSetAtOnceReplacesTheWholeGroup) {
  const RunConfig config = loaded({"slo.ttft_ms=7", "slo={tpot_ms: 9}"});
  EXPECT_EQ(config.slo.ttft_ms, 2000) << "the default again";
  EXPECT_EQ(config.slo.tpot_ms, 9);
}

TEST(RunConfigKeys, WhatIfsReachIntoNamedFiles) {
  const RunConfig config = loaded({"gpu=l40s", "gpu.memory_bytes=1e11", "model.layers=2",
                                   "model.ffn.intermediate=512", "engine.profile.graphs.max_tokens=512"});
  EXPECT_EQ(config.gpu->name, "l40s");
  EXPECT_EQ(config.gpu->memory_bytes, 100'000'000'000);
  EXPECT_EQ(config.model->layers, 2);
  EXPECT_EQ(config.engine.profile->graphs.max_tokens, 512);
  EXPECT_EQ(loaded({"model.layers=2", "model=opt-13b"}).model->layers, 40)
      << "a name set later starts afresh";
}

TEST(RunConfigKeys, CombinationsWithoutAMeaningAreRefusedWithTheReason) {
  struct {
    Keys keys;
    const char* words;
  } const cases[] = {
      {{"parallel.pp=2"}, "parallel.pp: 2 is not modelled yet, expected 1"},
      {{"parallel.cp=2"}, "parallel.cp: 2 is not modelled yet, expected 1"},
      {{"parallel.dp=2"}, "use `replicas` for independent engines"},
      {{"parallel.ep=2", "parallel.tp=2"}, "ep = 2, but the model has no experts"},
      {{"parallel.tp=3"}, "tp = 3 and 8 key/value heads: expected one to divide the other"},
      {{"sampling.n=2", "memory.allocator=contiguous-max"}, "sampling.n: 2 answers share blocks"},
      {{"sampling.n=2", "memory.prefix_cache=radix"}, "sampling.n: 2 answers share blocks"},
      {{"sampling.n=2", "memory.block_scope=group"}, "one block table (block_scope: all-layers)"},
      {{"sampling.n=8", "engine.max_num_seqs=4"}, "expected at most max_num_seqs 4"},
      {{"sampling.n=2", "memory.preemption=swap"}, "which only stay in HBM"},
      {{"memory.prefix_cache=radix", "memory.block_scope=group"}, "a radix tree is of whole tokens"},
      {{"engine.max_num_seqs=300", "engine.max_num_batched_tokens=200"}, "so that every decode fits a step"},
      {{"engine.max_num_seqs=4000"}, "so that every decode fits a step"},
      {{"memory.kv_blocks=1"}, "expected at least 2 (one is the engine's null block)"},
      {{"memory.kv_dtype=int5"}, "memory.kv_dtype: 'int5' is not known"},
      {{"model=llama-3.1-405b"}, "does not fit"},
      {{"memory.gpu_memory_utilization=0.1"}, "does not fit"},
      {{"model=jamba-v0.1", "gpu=h200-sxm", "memory.block_scope=all-layers", "memory.preemption=swap"},
       "keeps recurrent states, which stay in HBM"},
      {{"model=gpt-oss-20b", "memory.preemption=swap"}, "expected memory.block_scope: all-layers"},
      {{"memory.block_scope=group", "memory.allocator=vmm"}, "groups of layers need allocator: paged"},
      {{"memory.block_scope=group", "memory.allocator=vmm", "memory.snapshot_tokens=64",
        "memory.block_tokens=8", "memory.kv_blocks=9", "memory.swap_gib=1", "memory.cache_salt=off",
        "memory.reuse_passed=true"},
       "groups of layers need allocator: paged"},
      {{"memory.allocator=vmm", "memory.preemption=swap"},
       "KV moves block by block, expected allocator: paged"},
      {{"memory.prefix_cache=radix", "memory.preemption=swap"}, "expected hash or off"},
      {{"cost.source=table"}, "'table' needs files, expected cost.tables: [..]"},
      {{"memory.kv_blocks=300000000"}, "expected at most 268,435,456 in all"},
      {{"memory.kv_blocks=200000000", "replicas=2"}, "in each of 2 replicas"},
  };
  for (const auto& c : cases) {
    const std::string message = planning(c.keys);
    EXPECT_NE(message.find(c.words), std::string::npos) << join(c.keys, " ") << "\n  said: " << message;
  }
}

TEST(RunConfigKeys, ShapesOfKvMemoryWorkForEveryAllocator) {
  for (const char* allocator : {"paged", "contiguous-max", "contiguous-pow2", "contiguous-oracle", "vmm"})
    for (const char* scheduler : {"vllm", "sarathi", "sglang"})
      EXPECT_EQ(planning({std::string("memory.allocator=") + allocator,
                          std::string("engine.scheduler=") + scheduler}),
                "ok")
          << allocator << ' ' << scheduler;
}

}  // namespace
}  // namespace tessera
