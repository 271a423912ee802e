#include "sim/serving/closed_loop.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/base/error.hpp"
#include "sim/report/manifest.hpp"
#include "sim/report/summary.hpp"
#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMs = 1'000'000'000;  // picoseconds

// Every step takes 10 ms, whatever it runs.
class FixedCost final : public StepCost {
 public:
  StepPrice price(const StepShape&) override {
    StepPrice price;
    price.base_ps = 10 * kMs;
    price.valid_steps = 1000000;
    return price;
  }
  [[nodiscard]] std::span<const std::int64_t> windows() const override { return {}; }
  [[nodiscard]] std::vector<CostOrigin> origins() const override { return {}; }
};

ClosedLoopConfig clients(std::int64_t concurrency, double think_time_s = 0) {
  ClosedLoopConfig config;
  config.concurrency = concurrency;
  config.think_time_s = think_time_s;
  return config;
}

struct Played {
  std::vector<RequestRecord> records;  // in order of arrival
  std::int64_t most_in_flight = 0;
  std::vector<std::size_t> replica_of;  // by row
};

// `total` requests of 10 tokens with `output` tokens; rows in `too_long` cannot fit.
Played play(const ClosedLoopConfig& config, std::uint32_t total, std::int32_t output, std::size_t engines = 1,
            bool leap = true, std::int64_t frontend_ps = 0, const std::vector<std::uint32_t>& too_long = {}) {
  FixedCost cost;
  Metrics metrics;
  Played played;
  played.records.resize(total);
  ReplicaSpec spec;
  spec.async_depth = 1;
  spec.memory.kv_blocks = 100;
  spec.frontend_ps = frontend_ps;
  spec.leap = leap;
  std::vector<std::unique_ptr<Replica>> replicas;
  for (std::size_t i = 0; i < engines; ++i)
    replicas.push_back(std::make_unique<Replica>(spec, cost, metrics));
  ClosedLoop loop(config, frontend_ps);
  std::int64_t in_flight = 0;
  metrics.on_finish = [&](const RequestRecord& record) {
    played.records[record.row] = record;
    --in_flight;
    loop.answered(record.finish_ps);
  };
  std::uint32_t row = 0;
  loop.play(replicas, [&](std::int64_t arrival_ps, Replica& replica) {
    if (row == total) return ClosedLoop::Sent::none;
    const bool fits = std::find(too_long.begin(), too_long.end(), row) == too_long.end();
    const std::string reason = replica.arrive({row++, arrival_ps, fits ? 10 : 100000, output, {}});
    for (std::size_t i = 0; i < engines; ++i)
      if (replicas[i].get() == &replica) played.replica_of.push_back(i);
    if (!reason.empty()) return ClosedLoop::Sent::rejected;
    played.most_in_flight = std::max(played.most_in_flight, ++in_flight);
    return ClosedLoop::Sent::accepted;
  });
  for (const auto& replica : replicas) replica->finish();
  return played;
}

TEST(ClosedLoop, EveryClientKeepsOneRequestInFlight) {
  const Played played = play(clients(3), 12, 4);
  EXPECT_EQ(played.most_in_flight, 3);
  for (const RequestRecord& record : played.records) EXPECT_GT(record.finish_ps, record.first_token_ps);
}

TEST(ClosedLoop, TheNextRequestArrivesWhenTheAnswerIsCompleteAndRunsInAStepAfterIt) {
  // Request 0 takes steps [0, 10) and [10, 20). Its client asks again at 20; alone, the engine is idle then.
  const Played played = play(clients(1), 3, 2);
  EXPECT_EQ(played.records[0].finish_ps, 20 * kMs);
  EXPECT_EQ(played.records[1].arrival_ps, 20 * kMs);
  EXPECT_EQ(played.records[1].first_token_ps, 30 * kMs);
  EXPECT_EQ(played.records[2].arrival_ps, 40 * kMs);
}

TEST(ClosedLoop, AStepScheduledAtTheEndOfARequestRunsWithoutItsSuccessor) {
  // Row 0 finishes at 20 while row 1, thrice as long, goes on: the step from 20 to 30 is already scheduled.
  FixedCost cost;
  Metrics metrics;
  ReplicaSpec spec;
  spec.async_depth = 1;
  spec.memory.kv_blocks = 100;
  std::vector<std::unique_ptr<Replica>> replicas;
  replicas.push_back(std::make_unique<Replica>(spec, cost, metrics));
  ClosedLoop loop(clients(2), 0);
  std::map<std::uint32_t, RequestRecord> records;
  metrics.on_finish = [&](const RequestRecord& record) {
    records[record.row] = record;
    loop.answered(record.finish_ps);
  };
  const std::vector<std::int32_t> outputs{2, 6, 2};
  std::uint32_t row = 0;
  loop.play(replicas, [&](std::int64_t arrival_ps, Replica& replica) {
    if (row == outputs.size()) return ClosedLoop::Sent::none;
    replica.arrive({row, arrival_ps, 10, outputs[row], {}}), ++row;
    return ClosedLoop::Sent::accepted;
  });
  replicas[0]->finish();
  EXPECT_EQ(records[2].arrival_ps, 20 * kMs);
  EXPECT_EQ(records[2].first_token_ps, 40 * kMs);
}

TEST(ClosedLoop, ClientsThinkBetweenAnswerAndQuestion) {
  const Played played = play(clients(1, 0.5), 2, 2);
  EXPECT_EQ(played.records[1].arrival_ps, 520 * kMs);
}

TEST(ClosedLoop, TheEngineSeesARequestItsFrontendTimeLater) {
  const Played played = play(clients(1), 2, 2, 1, true, 3 * kMs);
  EXPECT_EQ(played.records[0].first_token_ps, 13 * kMs);
  EXPECT_EQ(played.records[1].arrival_ps, 23 * kMs);
  EXPECT_EQ(played.records[1].first_token_ps, 36 * kMs);
}

TEST(ClosedLoop, ARefusedRequestCostsItsClientNoTime) {
  const Played played = play(clients(1), 3, 2, 1, true, 0, {1});
  EXPECT_EQ(played.records[2].arrival_ps, 20 * kMs);
}

TEST(ClosedLoop, RequestsAreDealtToReplicasInTurnAndLeapingChangesNothing) {
  const Played leap = play(clients(5), 40, 7, 3, true), step = play(clients(5), 40, 7, 3, false);
  for (std::size_t i = 0; i < leap.replica_of.size(); ++i) EXPECT_EQ(leap.replica_of[i], i % 3);
  for (std::size_t i = 0; i < leap.records.size(); ++i) {
    EXPECT_EQ(leap.records[i].arrival_ps, step.records[i].arrival_ps);
    EXPECT_EQ(leap.records[i].finish_ps, step.records[i].finish_ps);
  }
}

TEST(ClosedLoop, TheEndOfSimulatedTimeIsAnError) {
  // 200 spells of a day pass 106 days.
  EXPECT_THROW(play(clients(1, 86400), 200, 2), RunError);
}

// --- as a run ---------------------------------------------------------------------------------------

std::string config_text(const std::string& trace) {
  return "gpu: h100-sxm\nmodel: llama-3.1-8b\ntrace: " + trace + "\n";
}

RunConfig load(const std::string& trace) {
  const std::string path = test::scratch("closed.yaml");
  std::ofstream(path) << config_text(trace);
  return load_run_config(path, {}, "");
}

std::string problem(const std::string& trace) {
  try {
    load(trace);
  } catch (const InputError& error) {
    return error.what();
  }
  return "ok";
}

TEST(ClosedLoopRun, NeedsNoFileAndKeepsTheBatchAtTheConcurrency) {
  const RunConfig config =
      load("{closed_loop: {concurrency: 16, requests: 80, input_tokens: 200, output_tokens: 50}}");
  const RunResult result = simulate(config);
  EXPECT_EQ(result.metrics.completed, 80);
  EXPECT_EQ(result.metrics.peak_running, 16);
  EXPECT_EQ(result.metrics.input_tokens, 80 * 200);
  EXPECT_EQ(result.trace.file, "16 clients, 200 + 50 tokens");
  const RunResult again = simulate(config);
  EXPECT_EQ(summary_json(result, {}), summary_json(again, {})) << "the same inputs give the same bytes";
  EXPECT_TRUE(nlohmann::json::parse(manifest_json(config, "closed.yaml"))["trace"].is_null());
}

TEST(ClosedLoopRun, TenRequestsAClientUnlessSaidOtherwise) {
  EXPECT_EQ(
      simulate(load("{closed_loop: {concurrency: 4, input_tokens: 20, output_tokens: 3}}")).metrics.completed,
      40);
}

TEST(ClosedLoopRun, TakesTheLengthsOfATraceAndNotItsArrivals) {
  std::ofstream(test::scratch("lengths.csv"))
      << "request_id,arrival_s,input_tokens,output_tokens\na,0,100,5\nb,5000,50,3\nc,9000,10,2\n";
  const RunResult result = simulate(load("{file: lengths.csv, closed_loop: {concurrency: 2}}"));
  EXPECT_EQ(result.metrics.completed, 3);
  EXPECT_EQ(result.metrics.output_tokens, 10);
  EXPECT_LT(result.metrics.last_finish_ps, 1000 * kMs);
}

TEST(ClosedLoopRun, WhatIsMissingOrTooMuchIsNamed) {
  EXPECT_NE(problem("{closed_loop: {input_tokens: 5, output_tokens: 5}}").find("concurrency: missing"),
            std::string::npos);
  EXPECT_NE(
      problem("{closed_loop: {concurrency: 2, input_tokens: 5}}").find("closed_loop.output_tokens: missing"),
      std::string::npos);
  EXPECT_NE(problem("{closed_loop: {concurrency: 2}}").find("closed_loop.input_tokens: missing"),
            std::string::npos);
  EXPECT_NE(
      problem("{file: x.csv, closed_loop: {concurrency: 2, input_tokens: 5}}").find("a file and lengths"),
      std::string::npos);
  for (const char* bad : {"0", "-1", "1e9", "nan", "many"})
    EXPECT_NE(problem(std::string("{closed_loop: {concurrency: ") + bad + "}}").find("concurrency"),
              std::string::npos)
        << bad;
  EXPECT_NE(problem("{closed_loop: {concurrency: 2, think_time_s: -1}}").find("think_time_s"),
            std::string::npos);
  EXPECT_NE(problem("{closed_loop: {concurrency: 2, outputtokens: 5}}").find("did you mean 'output_tokens'?"),
            std::string::npos);
}

TEST(ClosedLoopRun, SglangRunsPromptsInStepsOfTheirOwn) {
  RunConfig config =
      load("{closed_loop: {concurrency: 8, requests: 40, input_tokens: 300, output_tokens: 20}}");
  for (const char* scheduler : {"vllm", "sglang"}) {
    config.engine.scheduler = scheduler;
    std::int64_t mixed = 0;
    RunHooks hooks;
    hooks.on_step = [&](const StepRecord& step) {
      mixed += step.decodes > 0 && step.prefill_tokens > 0 ? 1 : 0;
    };
    config.engine.max_num_batched_tokens = 600;
    EXPECT_EQ(simulate(config, hooks).metrics.completed, 40);
    EXPECT_EQ(mixed > 0, std::string(scheduler) == "vllm");
  }
}

TEST(ClosedLoopRun, TheProfileChoosesItsEnginesScheduler) {
  const std::string path = test::scratch("sglang.yaml");
  std::ofstream(path) << config_text("{closed_loop: {concurrency: 1, input_tokens: 5, output_tokens: 5}}")
                      << "engine: {profile: sglang-0.5}\n";
  EXPECT_EQ(load_run_config(path, {}, "").engine.scheduler, "sglang");
  EXPECT_EQ(load_run_config(path, {"engine.scheduler=vllm"}, "").engine.scheduler, "vllm");
}

}  // namespace
}  // namespace tessera
