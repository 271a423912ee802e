#include "sim/serving/simulate.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "sim/report/requests_csv.hpp"
#include "sim/report/summary.hpp"
#include "sim/report/timeline.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

RunConfig quickstart(const std::vector<std::string>& overrides = {}) {
  return load_run_config(TESSERA_SOURCE_DIR "/configs/quickstart.yaml", overrides, "");
}

struct Output {
  RunResult result;
  std::string requests, timeline, summary;
};

Output run(const std::vector<std::string>& overrides, bool leap = true) {
  Output out;
  RequestsCsv requests;
  Timeline timeline;
  RunHooks hooks;
  hooks.leap = leap;
  hooks.on_request = [&](const RequestRecord& record, std::string_view id) {
    requests.add(record, id);
    timeline.request(record, id);
  };
  hooks.on_step = [&](const StepRecord& step) { timeline.step(step); };
  out.result = simulate(quickstart(overrides), hooks);
  out.requests = requests.text();
  out.timeline = timeline.gzipped();
  out.summary = summary_json(out.result, {});
  return out;
}

TEST(Simulate, TheQuickstartCompletesEveryRequestAndReportsWithTheInterfacesKeys) {
  const Output out = run({});
  const auto json = nlohmann::json::parse(out.summary);
  EXPECT_EQ(json["completed"], 600);
  EXPECT_EQ(json["rejected"], 0);
  for (const char* key : {"duration", "total_input_tokens", "total_output_tokens", "request_throughput",
                          "output_throughput", "total_token_throughput", "request_goodput", "kv", "bytes",
                          "steps", "calibration", "definitions", "warnings", "volatile"})
    EXPECT_TRUE(json.contains(key)) << key;
  for (const char* latency : {"ttft", "tpot", "itl", "e2el"})
    for (const char* stat : {"mean_", "median_", "p90_", "p95_", "p99_"})
      EXPECT_GT(json[std::string(stat) + latency + "_ms"], 0) << stat << latency;
  for (const char* key : {"capacity_blocks", "peak_blocks", "useful_fraction", "internal_waste_fraction",
                          "external_waste_fraction", "reserved_fraction", "prefix_hit_ratio", "preemptions",
                          "evictions", "mean_batched_requests"})
    EXPECT_TRUE(json["kv"].contains(key)) << key;
  const double shares =
      json["kv"]["useful_fraction"].get<double>() + json["kv"]["internal_waste_fraction"].get<double>() +
      json["kv"]["external_waste_fraction"].get<double>() + json["kv"]["reserved_fraction"].get<double>();
  EXPECT_NEAR(shares, 1, 1e-12);
}

TEST(Simulate, EqualRunsGiveEqualBytesSteppingOrLeaping) {
  const Output a = run({});
  for (const bool leap : {true, false}) {
    const Output b = run({}, leap);
    EXPECT_EQ(a.requests, b.requests);
    EXPECT_EQ(a.timeline, b.timeline);
    EXPECT_EQ(a.summary, b.summary);
  }
}

TEST(Simulate, TimeOfTheStepsIsTheSumOfItsOperators) {
  const Output out = run({});
  const Metrics& m = out.result.metrics;
  double parts = 0;
  for (const double part : m.terms.part) parts += part;
  // Terms are those of the first step of a run of equal ones; contexts grow meanwhile, by a little.
  EXPECT_NEAR(parts * 1e-6, static_cast<double>(m.busy_ps) * 1e-12,
              0.01 * static_cast<double>(m.busy_ps) * 1e-12);
}

TEST(Simulate, FasterMemoryIsNeverSlowerAndMoreBlocksNeverPreemptMore) {
  const auto tpot = [](const char* gb_s) {
    const Output out = run({std::string("gpu.hbm_gb_s=") + gb_s});
    return nlohmann::json::parse(out.summary)["mean_tpot_ms"].get<double>();
  };
  EXPECT_GT(tpot("1700"), tpot("3352"));
  EXPECT_GT(tpot("3352"), tpot("6700"));
  const auto preemptions = [](const char* blocks) {
    return run({std::string("memory.kv_blocks=") + blocks}).result.metrics.preemptions;
  };
  EXPECT_GT(preemptions("1200"), 0);
  EXPECT_EQ(preemptions("20000"), 0);
}

TEST(Simulate, ReplicasShareTheLoad) {
  const Output one = run({}), four = run({"replicas=4"});
  EXPECT_EQ(four.result.metrics.completed, 600);
  EXPECT_LT(nlohmann::json::parse(four.summary)["mean_tpot_ms"].get<double>(),
            nlohmann::json::parse(one.summary)["mean_tpot_ms"].get<double>());
}

TEST(Simulate, TensorParallelismHoldsLessPerRankAndPaysForAllReduce) {
  const Output one = run({}), two = run({"parallel.tp=2"});
  EXPECT_LT(two.result.weight_bytes, 0.6 * static_cast<double>(one.result.weight_bytes));
  EXPECT_EQ(two.result.bytes_per_token * 2, one.result.bytes_per_token);
  EXPECT_GT(two.result.metrics.terms.part[static_cast<std::size_t>(StepPart::collective)], 0);
  EXPECT_EQ(one.result.metrics.terms.part[static_cast<std::size_t>(StepPart::collective)], 0);
}

// On one GPU with the KV blocks given, so that memory is no question.
TEST(Simulate, EveryShippedModelServes) {
  for (const std::string& name : config_names("models")) {
    const Output out = run({"model=" + name, "gpu=h200-sxm", "memory.kv_blocks=20000", "trace.limit=20"});
    EXPECT_EQ(out.result.metrics.completed, 20) << name;
    EXPECT_GT(out.result.metrics.terms.hbm_bytes, 0) << name;
  }
}

TEST(Simulate, AnInterruptedRunKeepsWhatArrived) {
  RunHooks hooks;
  int calls = 0;
  hooks.progress = [&](std::int64_t, std::int64_t) { return ++calls == 1; };
  RunConfig config = quickstart();
  config.trace.file = test::scratch("many.csv");
  std::ofstream trace(config.trace.file);
  trace << "request_id,arrival_s,input_tokens,output_tokens\n";
  for (int i = 0; i < 9000; ++i) trace << i << ',' << i * 0.01 << ",10,2\n";
  trace.close();
  const RunResult result = simulate(config, hooks);
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.metrics.completed, 4096);
}

}  // namespace
}  // namespace tessera
