#include "sim/serving/run_config.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

std::string write(const std::string& name, const std::string& text) {
  std::string path = test::scratch(name);
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

const std::string kTrace = "request_id,arrival_s,input_tokens,output_tokens\na,0,100,5\nb,0.5,50,3\n";
const std::string kGood = "gpu: h100-sxm\nmodel: llama-3.1-8b\ntrace: {file: t.csv}\n";

// What loading and running the config says, or "ok".
std::string outcome(const std::string& text, const std::vector<std::string>& overrides = {}) {
  write("t.csv", kTrace);
  try {
    simulate(load_run_config(write("run.yaml", text), overrides, ""));
  } catch (const InputError& error) {
    return error.what();
  }
  return "ok";
}

void expect_error(const std::string& text, const std::string& place, const std::string& words,
                  const std::vector<std::string>& overrides = {}) {
  const std::string message = outcome(text, overrides);
  EXPECT_NE(message.find(place), std::string::npos) << "expected the place " << place << " in: " << message;
  EXPECT_NE(message.find(words), std::string::npos) << "expected '" << words << "' in: " << message;
}

TEST(RunConfig, AMinimalConfigRuns) { EXPECT_EQ(outcome(kGood), "ok"); }

TEST(RunConfig, UnknownKeysNameThePlaceAndTheNearestKey) {
  expect_error(kGood + "enginee: {}\n", "run.yaml:4:1", "did you mean 'engine'?");
  expect_error(kGood + "memory: {kv_block: 5}\n", "run.yaml:4:10", "did you mean 'kv_blocks'?");
  expect_error(kGood + "slo: {ttft: 5}\n", "run.yaml:4:7", "did you mean 'ttft_ms'?");
}

TEST(RunConfig, DuplicateKeysAreErrors) {
  expect_error(kGood + "gpu: l40s\n", "run.yaml:4:1", "duplicate key");
}

TEST(RunConfig, MissingPartsAreNamed) {
  expect_error("model: llama-3.1-8b\ntrace: {file: t.csv}\n", "run.yaml:1:1", "gpu: missing");
  expect_error("gpu: h100-sxm\ntrace: {file: t.csv}\n", "run.yaml:1:1", "model: missing");
  expect_error("gpu: h100-sxm\nmodel: llama-3.1-8b\n", "run.yaml", "trace.file: missing");
  expect_error("", "run.yaml", "expected a map");
  expect_error("just words\n", "run.yaml:1:1", "expected a map");
}

TEST(RunConfig, NamesThatAreNotThereSuggestOnesThatAre) {
  expect_error("gpu: h100\nmodel: llama-3.1-8b\ntrace: {file: t.csv}\n", "run.yaml:1:6",
               "did you mean 'h100-sxm'?");
  expect_error("gpu: h100-sxm\nmodel: lama-3.1-8b\ntrace: {file: t.csv}\n", "run.yaml:2:8",
               "did you mean 'llama-3.1-8b'?");
  expect_error(kGood + "engine: {profile: vlm-0.19}\n", "run.yaml:4:19", "did you mean 'vllm-0.19'?");
  expect_error(kGood + "engine: {scheduler: vlm}\n", "run.yaml:4:21", "did you mean 'vllm'?");
  expect_error(kGood + "fabric: dgx-h10\n", "run.yaml:4:9", "did you mean 'dgx-h100'?");
  expect_error("gpu: ./nowhere.yaml\nmodel: llama-3.1-8b\ntrace: {file: t.csv}\n", "run.yaml:1:6",
               "no such file");
}

TEST(RunConfig, NumbersOutOfRangeOrOfTheWrongKindAreErrors) {
  expect_error(kGood + "memory: {gpu_memory_utilization: 1.5}\n", "run.yaml:4:34", "out of range");
  expect_error(kGood + "memory: {gpu_memory_utilization: nan}\n", "run.yaml:4:34", "expected a number");
  expect_error(kGood + "memory: {block_tokens: 0}\n", "run.yaml:4:24", "from 1 to 4096");
  expect_error(kGood + "memory: {block_tokens: sixteen}\n", "run.yaml:4:24", "expected a number");
  expect_error(kGood + "memory: {kv_blocks: -3}\n", "run.yaml:4:21", "out of range");
  expect_error(kGood + "memory: {kv_blocks: 99999999999999999999}\n", "run.yaml:4:21", "out of range");
  expect_error(kGood + "engine: {max_num_seqs: 2.5}\n", "run.yaml:4:24", "whole number");
  expect_error(kGood + "trace: [a, b]\n", "run.yaml:4:1", "duplicate key");
  expect_error(kGood + "replicas: 0\n", "run.yaml:4:11", "from 1 to");
  expect_error(kGood + "seed: -1\n", "run.yaml:4:7", "at least 0");
  expect_error(kGood + "slo: 5\n", "run.yaml:4:6", "expected a map");
  expect_error(kGood + "cost: {tables: t.csv}\n", "run.yaml:4:16", "expected a list");
}

TEST(RunConfig, CombinationsThatDoNotExistYetAreRefusedWithAReason) {
  expect_error(kGood + "parallel: {pp: 2}\n", "pp", "2");
  expect_error(kGood + "sampling: {n: 0}\n", "run.yaml:4:15", "from 1 to 64");
  expect_error(kGood + "sampling: {mode: beams}\n", "run.yaml:4:18", "did you mean 'beam'");
  expect_error(kGood + "memory: {vmm: {page_kib: 2}}\n", "run.yaml:4:26", "from 4 to");
  expect_error(kGood + "cost: {source: table}\n", "run.yaml:4:16", "tables");
}

TEST(RunConfig, WhatDoesNotFitIsRefusedWithTheArithmetic) {
  expect_error("gpu: rtx-4090\nmodel: llama-3.1-70b\ntrace: {file: t.csv}\n", "does not fit", "weights");
  expect_error(kGood + "parallel: {tp: 16}\n", "parallel", "16");
  expect_error(kGood + "parallel: {tp: 3}\n", "tp", "3");
  expect_error(kGood + "engine: {max_num_seqs: 600, max_num_batched_tokens: 512}\n", "max_num_batched_tokens",
               "max_num_seqs");
  expect_error(kGood + "memory: {kv_blocks: 1}\n", "kv_blocks", "at least 2");
}

TEST(RunConfig, OverridesAreCheckedLikeTheFile) {
  EXPECT_EQ(outcome(kGood, {"memory.kv_blocks=100", "gpu=l40s"}), "ok");
  EXPECT_EQ(outcome(kGood, {"model.attention.kv_heads=4"}), "ok") << "a named model can be changed in place";
  EXPECT_EQ(outcome(kGood, {"engine.profile.async_depth=1"}), "ok");
  expect_error(kGood, "--set memory.kv_blcks=4", "did you mean 'kv_blocks'?", {"memory.kv_blcks=4"});
  expect_error(kGood, "--set memory.kv_blocks", "expected key=value", {"memory.kv_blocks"});
  expect_error(kGood, "--set =4", "expected key=value", {"=4"});
  expect_error(kGood, "--set", "empty key", {"memory..kv_blocks=4"});
  expect_error(kGood, "--set", "holds a value", {"trace.file.x=4"});
}

TEST(RunConfig, HostileYamlNeverGetsFurtherThanAMessage) {
  expect_error("gpu: &x h100-sxm\nmodel: *x\n", "run.yaml:1:6", "anchors");
  expect_error("gpu: [[[[\n", "run.yaml", "not valid YAML");
  expect_error(std::string(5000, '['), "run.yaml", "nested deeper");
  expect_error(std::string("gpu: \0\xff\xfe", 9), "run.yaml:1", "binary");
  expect_error("a: b\n---\nc: d\n", "run.yaml", "second YAML document");
  expect_error("gpu: {name: h100-sxm\n", "run.yaml", "not valid YAML");
}

TEST(RunConfig, TheResolvedFormReadsBackToTheSame) {
  write("t.csv", kTrace);
  const RunConfig config = load_run_config(write("run.yaml", kGood), {"slo.ttft_ms=123"}, "");
  const std::string text = emit_yaml(to_yaml(config));
  const RunConfig again = load_run_config(write("resolved.yaml", text), {}, "");
  EXPECT_EQ(emit_yaml(to_yaml(again)), text);
  EXPECT_EQ(again.slo.ttft_ms, 123);
  EXPECT_EQ(again.gpu->name, "h100-sxm");
}

}  // namespace
}  // namespace tessera
