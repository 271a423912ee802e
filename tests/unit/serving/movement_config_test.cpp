#include "sim/serving/movement_config.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/report/summary.hpp"
#include "sim/serving/kv_mover.hpp"
#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

std::string write(const std::string& name, const std::string& text) {
  std::string path = test::scratch(name);
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

const std::string kTrace =
    "request_id,arrival_s,input_tokens,output_tokens,block16_ids\n"
    "a,0,100,5,1 2 3 4 5 6\nb,5,100,3,1 2 3 4 5 6\nc,10,64,40,9 8 7 6\n";

RunResult run(const std::string& memory, const std::vector<std::string>& overrides = {}) {
  write("t.csv", kTrace);
  return simulate(load_run_config(
      write("run.yaml",
            "gpu: h100-sxm\nmodel: llama-3.1-8b\ntrace: {file: t.csv}\nmemory: {" + memory + "}\n"),
      overrides, ""));
}

std::string outcome(const std::string& memory, const std::vector<std::string>& overrides = {}) {
  try {
    run(memory, overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "ok";
}

void expect_error(const std::string& memory, const std::string& words) {
  const std::string message = outcome(memory);
  EXPECT_NE(message.find(words), std::string::npos) << "expected '" << words << "' in: " << message;
}

TEST(MovementConfig, TiersAreReadInPlaceByNameAndFromTheCommandLine) {
  EXPECT_EQ(outcome("tiers: [{name: host, capacity_gib: 1}]"), "ok");
  EXPECT_EQ(
      outcome("tiers: [{name: host, capacity_gib: 1}, {name: disk, device: nvme-pm9a3, capacity_gib: 4}]"),
      "ok");
  EXPECT_EQ(
      outcome("tiers: [{name: far, device: {read_gb_s: 1, write_gb_s: 1, both_gb_s: 2}, capacity_gib: 1}]"),
      "ok");
  EXPECT_EQ(outcome("prefix_cache: hash", {"memory.tiers=[{name: host, capacity_gib: 1}]",
                                           "memory.tiers.0.capacity_gib=2", "memory.host_link=pcie5-h100",
                                           "memory.host_link.read_gb_s=10", "memory.preemption=swap"}),
            "ok");
}

TEST(MovementConfig, BadOnesAreRefusedWithTheReason) {
  expect_error("tiers: [{name: host}]", "capacity_gib");
  expect_error("tiers: [{capacity_gib: 1}]", "name");
  expect_error("tiers: [{name: host, capacity_gib: 0}]", "expected a number of GiB from");
  expect_error("tiers: [{name: host, capacity_gib: -3}]", "expected a number of GiB from");
  expect_error("tiers: [{name: host, capacity_gib: .nan}]", "capacity_gib");
  expect_error("tiers: [{name: host, capacity_gib: 0.0001}]", "holds no block of 16 tokens");
  expect_error("tiers: [{name: host, capacity_gib: 1e8}]", "larger memory.block_tokens");
  expect_error("tiers: [{name: host, capacity_gib: 1, polcy: lru}]", "did you mean 'policy'");
  expect_error("tiers: [{name: host, capacity_gib: 1, policy: lruu}]", "did you mean 'lru'");
  expect_error("tiers: [{name: host, capacity_gib: 1, policy: belady}]", "policy");
  expect_error("tiers: [{name: a, capacity_gib: 1}, {name: a, device: nvme-pm9a3, capacity_gib: 1}]",
               "two tiers are called 'a'");
  expect_error("tiers: [{name: a, capacity_gib: 1}, {name: b, capacity_gib: 1}]", "has no device");
  expect_error("tiers: [{name: a, device: nvme-pm9a33, capacity_gib: 1}]", "did you mean 'nvme-pm9a3'");
  expect_error("tiers: [{name: a, capacity_gib: 1, placement: exclusive}]", "write: on-evict");
  expect_error("tiers: [{name: a, capacity_gib: 1, placement: exclusive, write: on-evict, policy: lfu}]",
               "cannot give up");
  expect_error("tiers: [{name: a, capacity_gib: 1, write: on-evict, policy: length-aware}]", "length-aware");
  expect_error("tiers: [{name: a, capacity_gib: 1, scope: global}]", "expected a device");
  expect_error("tiers: [{name: a, capacity_gib: 1, pool_gb_s: 5}]", "scope: global");
  expect_error("tiers: [{name: a, capacity_gib: 1, compression: {ratio: 0.5}}]", "ratio");
  expect_error("tiers: {name: a}", "expected a list");
  expect_error("host_link: {read_gb_s: 0, write_gb_s: 1, both_gb_s: 1}, preemption: swap", "read_gb_s");
  expect_error("tier_load: layerwise, tier_split: both-ends", "tier_load: async");
  expect_error("preemption: swapp", "did you mean 'swap'");
  expect_error("preemption: swap, allocator: contiguous-pow2", "allocator: paged");
  expect_error("preemption: swap, swap_gib: -1", "swap_gib");
  expect_error("preemption: swap, block_scope: group", "block_scope");
  expect_error("preemption: swap, prefix_cache: radix", "expected hash or off");
  EXPECT_NE(outcome("preemption: swap", {"sampling.n=2"}).find("sampling.n: 2 answers"), std::string::npos);
}

TEST(MovementConfig, AModelWithWindowsNeedsBlocksOfAllLayers) {
  write("t.csv", kTrace);
  const std::string config = write(
      "w.yaml", "gpu: h100-sxm\nmodel: gemma-3-27b\ntrace: {file: t.csv}\nmemory: {preemption: swap}\n");
  EXPECT_THROW(simulate(load_run_config(config, {}, "")), InputError);
  EXPECT_NO_THROW(simulate(load_run_config(config, {"memory.block_scope=all-layers"}, "")));
}

TEST(MovementConfig, BytesAndPiecesFollowTheModel) {
  MovementConfig config;
  config.preemption = "swap";
  config.swap_gib = 4;
  const Gpu gpu = load_gpu("h100-sxm");
  const Model model = load_model("llama-3.1-8b");
  for (const std::int64_t tp : {1, 2}) {
    Parallel parallel;
    parallel.tp = tp;
    const RankModel rank = partition(model, parallel, resolve_kv_precision(model, "auto"));
    const auto spec = movement_spec(config, gpu, rank, 16, 2048, 1);
    EXPECT_EQ(spec->block.bytes, 2 << 20) << "all ranks of the engine";
    EXPECT_EQ(spec->block.pieces, 1);
    EXPECT_EQ(spec->lanes, tp);
    EXPECT_EQ(spec->swap_blocks, 2048);
    EXPECT_EQ(pieces_of("layer", rank.kv), 64) << "K and V of 32 layers: 32 KiB each (S9-17)";
  }
  EXPECT_EQ(movement_spec(MovementConfig{}, gpu, partition(model, {}, resolve_kv_precision(model, "auto")),
                          16, 2048, 1),
            nullptr);
}

TEST(MovementConfig, TheSummaryTellsWhatEachTierAndLinkDid) {
  const RunResult result =
      run("prefix_cache: off, tiers: [{name: host, capacity_gib: 1}, "
          "{name: disk, device: nvme-pm9a3, capacity_gib: 2, compression: {ratio: 2}}]");
  const auto json = nlohmann::ordered_json::parse(summary_json(result, {}));
  const auto& host = json["tiers"][0];
  EXPECT_EQ(host["hit_blocks"], 6);
  EXPECT_EQ(host["bytes_out"], 6 * (2 << 20));
  EXPECT_EQ(host["bytes_in"], 10 * (2 << 20));
  EXPECT_EQ(json["tiers"][1]["bytes_in"], 10 * (1 << 20)) << "compressed";
  EXPECT_EQ(json["movement"]["found_blocks"], 6);
  double reads = 0;
  for (const auto& [name, link] : json["bytes"].items())
    if (name.starts_with("host link")) {
      EXPECT_EQ(link["read"]["bytes"], 6 * (2 << 20));
      EXPECT_EQ(link["write"]["bytes"], 10 * (2 << 20));
      EXPECT_LE(link["read"]["percent_of_peak"], 100);
      reads += 1;
    }
  EXPECT_EQ(reads, 1);
  EXPECT_NEAR(json["kv"]["prefix_hit_ratio"], 96.0 / 264, 1e-9);
  const std::string text = summary_text(result, {}, false);
  EXPECT_NE(text.find("6 of 15 blocks"), std::string::npos) << text;
  EXPECT_NE(text.find("% of peak"), std::string::npos) << text;
}

TEST(MovementConfig, HitsMoveTheLatency) {
  const auto ttft = [](const std::string& memory) { return run(memory).metrics.samples[1].ttft_ms; };
  const double computed = ttft("prefix_cache: off"),
               loaded = ttft("prefix_cache: off, tiers: [{name: h, capacity_gib: 1}]");
  EXPECT_LT(loaded, computed);
  const double slow = ttft(
      "prefix_cache: off, tiers: [{name: h, device: {read_gb_s: 0.01, write_gb_s: 1, both_gb_s: 2}, "
      "capacity_gib: 1}]");
  EXPECT_GT(slow, 500 * computed / 10) << "a slow tier delays who loads from it";
  const double by_cost = ttft(
      "prefix_cache: off, tier_split: cost, tiers: [{name: h, device: {read_gb_s: 0.01, write_gb_s: 1, "
      "both_gb_s: 2}, capacity_gib: 1}]");
  EXPECT_NEAR(by_cost, computed, 0.01 * computed) << "by cost it is computed";
}

TEST(MovementConfig, ARequestThatNeverFitsIsRejectedAndCountedBesideTiers) {
  RunResult result =
      run("kv_blocks: 6, prefix_cache: off, preemption: swap, tiers: [{name: h, capacity_gib: 1}]");
  EXPECT_EQ(result.metrics.completed, 0);
  std::int64_t rejected = 0;
  for (const auto& [reason, count] : result.metrics.rejected) rejected += count;
  EXPECT_EQ(rejected, 3);
  RunResult some =
      run("kv_blocks: 8, prefix_cache: off, preemption: swap, tiers: [{name: h, capacity_gib: 1}]");
  EXPECT_EQ(some.metrics.completed + some.metrics.rejected["needs more KV blocks than the engine has"], 3);
  EXPECT_GT(some.metrics.completed, 0);
}

TEST(MovementConfig, AnInterruptedRunKeepsWhatItHad) {
  write("t.csv", kTrace);
  volatile std::sig_atomic_t stop = 0;
  RunHooks hooks;
  hooks.stop = &stop;
  hooks.on_request = [&stop](const RequestRecord&, std::string_view) { stop = 1; };
  const RunResult result =
      simulate(load_run_config(write("run.yaml",
                                     "gpu: h100-sxm\nmodel: llama-3.1-8b\ntrace: {file: t.csv}\n"
                                     "memory: {preemption: swap, tiers: [{name: h, capacity_gib: 1}]}\n"),
                               {}, ""),
               hooks);
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.metrics.completed, 1);
  ASSERT_TRUE(result.movement.has_value());
  EXPECT_EQ(result.movement->tiers[0].count.stored, 6);
}

TEST(MovementConfig, TheResolvedConfigReadsBackTheSame) {
  write("t.csv", kTrace);
  const std::string first = write("run.yaml",
                                  "gpu: h100-sxm\nmodel: llama-3.1-8b\ntrace: {file: t.csv}\nmemory: "
                                  "{preemption: cost, host_link: pcie5-h100, "
                                  "tiers: [{name: h, capacity_gib: 1}, {name: d, device: nvme-pm9a3, "
                                  "capacity_gib: 3, compression: {ratio: 3}}]}\n");
  const RunConfig config = load_run_config(first, {}, "");
  const std::string text = emit_yaml(to_yaml(config));
  const RunConfig again = load_run_config(write("again.yaml", text), {}, config.trace.file);
  EXPECT_EQ(summary_json(simulate(config), {}), summary_json(simulate(again), {}));
}

}  // namespace
}  // namespace tessera
