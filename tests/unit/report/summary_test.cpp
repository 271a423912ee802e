// summary.json and the summary for people, from figures small enough to check by hand.
#include "sim/report/summary.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
constexpr std::int64_t kMs = 1'000'000'000;  // in ps

// Two answers of 5 tokens and one of 1 within 2 s; a step of 10 ms with 4 requests in 8 of 100 blocks.
RunResult small_result() {
  RunResult result;
  result.config = load_run_config(TESSERA_SOURCE_DIR "/configs/quickstart.yaml",
                                  {"slo.ttft_ms=100", "slo.tpot_ms=50"}, "");
  result.capacity_derived = false;
  result.kv_blocks = 100;
  result.block_tokens = 16;
  result.bytes_per_token = 1000;
  result.block_bytes = 16'000;
  Metrics& m = result.metrics;
  m.slo_ttft_ms = 100, m.slo_tpot_ms = 50;
  const auto finish = [&m](std::int64_t arrival_ms, std::int64_t first_ms, std::int64_t end_ms,
                           std::int32_t output) {
    RequestRecord r;
    r.input_tokens = 20, r.output_tokens = output;
    r.arrival_ps = arrival_ms * kMs, r.first_token_ps = first_ms * kMs, r.finish_ps = end_ms * kMs;
    m.finish(r);
  };
  finish(0, 90, 290, 5);        // 90 and 50: good
  finish(500, 700, 900, 5);     // 200: late
  finish(1900, 2000, 2000, 1);  // 100, no TPOT: good
  m.rejected["longer than max_model_len"] = 2;
  m.prompt_tokens_looked_up = 60, m.prompt_tokens_hit = 15;
  m.steps = 4, m.busy_ps = 40 * kMs;
  KvUse use;
  use.used_blocks = 8, use.held_slots = 128, use.resident = 96, use.reserved = 16, use.external = 32;
  use.running = 4;
  m.kv_use(use, 10 * kMs);
  return result;
}
Json json_of(const RunResult& result) { return Json::parse(summary_json(result, {2.0, 1 << 20})); }

TEST(Summary, RatesAreOverTheTimeFromFirstArrivalToLastToken) {
  const Json json = json_of(small_result());
  EXPECT_EQ(json["completed"], 3);
  EXPECT_EQ(json["rejected"], 2);
  EXPECT_EQ(json["rejected_reasons"]["longer than max_model_len"], 2);
  EXPECT_DOUBLE_EQ(json["duration"], 2);
  EXPECT_EQ(json["total_input_tokens"], 60);
  EXPECT_EQ(json["total_output_tokens"], 11);
  EXPECT_DOUBLE_EQ(json["request_throughput"], 1.5);
  EXPECT_DOUBLE_EQ(json["output_throughput"], 5.5);
  EXPECT_DOUBLE_EQ(json["total_token_throughput"], 35.5);
  EXPECT_DOUBLE_EQ(json["request_goodput"], 1) << "two of them met both limits";
  EXPECT_DOUBLE_EQ(json["slo"]["met_fraction"], 2.0 / 5) << "who was rejected got no answer in time";
}

TEST(Summary, LatenciesAreThoseOfTheRequests) {
  const Json json = json_of(small_result());
  EXPECT_DOUBLE_EQ(json["mean_ttft_ms"], (90 + 200 + 100) / 3.0);
  EXPECT_DOUBLE_EQ(json["median_ttft_ms"], 100);
  EXPECT_DOUBLE_EQ(json["mean_tpot_ms"], 50);
  EXPECT_DOUBLE_EQ(json["median_e2el_ms"], 290);
  EXPECT_TRUE(json["mean_itl_ms"].is_null()) << "no gap was reported, and NaN is not JSON";
}

TEST(Summary, EverySlotIsUsefulInternalReservedOrExternal) {
  const Json kv = json_of(small_result())["kv"];
  EXPECT_EQ(kv["capacity_blocks"], 100);
  EXPECT_EQ(kv["peak_blocks"], 8);
  EXPECT_DOUBLE_EQ(kv["mean_blocks"], 8);
  EXPECT_DOUBLE_EQ(kv["useful_fraction"], 96.0 / 160);
  EXPECT_DOUBLE_EQ(kv["internal_waste_fraction"], 16.0 / 160);
  EXPECT_DOUBLE_EQ(kv["reserved_fraction"], 16.0 / 160);
  EXPECT_DOUBLE_EQ(kv["external_waste_fraction"], 32.0 / 160);
  EXPECT_DOUBLE_EQ(kv["prefix_hit_ratio"], 0.25);
  EXPECT_DOUBLE_EQ(kv["mean_batched_requests"], 4);
  EXPECT_FALSE(kv.contains("capacity")) << "given, not derived: there is no sum to show";
  EXPECT_FALSE(kv.contains("mapped"));
}

TEST(Summary, ARunInWhichNothingFinishedDividesByNothing) {
  RunResult result = small_result();
  result.metrics = Metrics{};
  const Json json = json_of(result);
  EXPECT_EQ(json["completed"], 0);
  for (const char* key : {"request_throughput", "output_throughput", "request_goodput"})
    EXPECT_EQ(json[key], 0) << key;
  EXPECT_TRUE(json["mean_ttft_ms"].is_null());
  EXPECT_TRUE(json["steps"]["mean_ms"].is_null());
  EXPECT_EQ(json["kv"]["useful_fraction"], 0);
  EXPECT_NE(summary_text(result, {}, false).find("0 requests completed"), std::string::npos);
}

TEST(Summary, OnlyVolatileKnowsTheMachine) {
  const RunResult result = small_result();
  Json a = Json::parse(summary_json(result, {2.0, 1 << 20})),
       b = Json::parse(summary_json(result, {9.0, 77}));
  EXPECT_DOUBLE_EQ(a["volatile"]["requests_per_s"], 1.5);
  EXPECT_EQ(b["volatile"]["peak_memory_bytes"], 77);
  a.erase("volatile");
  b.erase("volatile");
  EXPECT_EQ(a.dump(), b.dump());
}

TEST(Summary, NamesThatAreNotTextDoNotBreakTheDocument) {
  RunResult result = small_result();
  result.config.name = "\xff\xfe \"quoted\"\n";
  result.trace.file = "\xc3\x28.csv";
  EXPECT_NO_THROW(static_cast<void>(json_of(result)));
}

TEST(Summary, ForPeopleSaysTheSameFigures) {
  const std::string text = summary_text(small_result(), {2.0, 1 << 20}, false);
  for (const char* part :
       {"3 requests completed, 2 rejected in 2.0 s", "1.50 requests/s", "6 output tokens/s",
        "36 tokens/s in all", "40.0 % meet TTFT <= 100 ms and TPOT <= 50.0 ms", "100 blocks of 16 tokens",
        "(given), peak 8 %, mean 8 %", "60.0 % of KV slots in use hold tokens", "prefix hits 25.0 %",
        "reserved 10.0 %, internal 10.0 %, external 20.0 %", "4 (0 with prefill), mean 10.00 ms"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\nin\n" << text;
  EXPECT_EQ(text.find('\033'), std::string::npos) << "no colour unless asked for";
  EXPECT_NE(summary_text(small_result(), {}, true).find('\033'), std::string::npos);
}

TEST(Summary, WarningsReachBothReaders) {
  RunResult result = small_result();
  result.warnings = {"the trace ends early"};
  EXPECT_EQ(json_of(result)["warnings"][0], "the trace ends early");
  EXPECT_NE(summary_text(result, {}, false).find("warning: the trace ends early"), std::string::npos);
  result.interrupted = true;
  EXPECT_EQ(json_of(result)["interrupted"], true);
  EXPECT_NE(summary_text(result, {}, false).find("interrupted"), std::string::npos);
}

TEST(Summary, SecondsByOperatorAndByResourceAreBothThere) {
  RunResult result = small_result();
  StepTerms terms;
  terms.part[static_cast<std::size_t>(StepPart::gemm)] = 6000;       // us
  terms.part[static_cast<std::size_t>(StepPart::attention)] = 4000;  // us
  terms.compute = 1000, terms.hbm = 9000, terms.launch = 500;
  terms.in_range = false;
  result.metrics.step_terms(terms, 4);
  const Json json = json_of(result);
  EXPECT_DOUBLE_EQ(json["steps"]["seconds_by_operator"]["gemm"], 0.024);
  EXPECT_DOUBLE_EQ(json["steps"]["seconds_by_operator"]["attention"], 0.016);
  EXPECT_DOUBLE_EQ(json["steps"]["seconds_by_resource"]["hbm"], 0.036);
  EXPECT_EQ(json["calibration"]["steps_out_of_range"], 4);
  EXPECT_NE(summary_text(result, {}, false).find("gemm 60.0 %  attention 40.0 %"), std::string::npos);
}

// A whole run: what the sections say of each other.
TEST(Summary, SectionsOfARealRunAgree) {
  const RunConfig config = load_run_config(TESSERA_SOURCE_DIR "/configs/quickstart.yaml", {}, "");
  const RunResult result = simulate(config);
  const Json json = json_of(result);
  const Json& steps = json["steps"];
  double operators = 0;
  for (const auto& [name, seconds] : steps["seconds_by_operator"].items()) {
    EXPECT_GE(seconds.get<double>(), 0) << name;
    operators += seconds.get<double>();
  }
  EXPECT_NEAR(operators, steps["busy_s"].get<double>(), 0.01 * operators)
      << "the operators' times make up the steps";
  EXPECT_EQ(steps["decode_tokens"].get<std::int64_t>() + json["completed"].get<std::int64_t>(),
            json["total_output_tokens"])
      << "every answer's first token comes from its prompt, without preemptions";
  EXPECT_EQ(json["kv"]["preemptions"], 0);
  const auto hits = json["kv"]["prefix_hit_ratio"].get<double>();
  EXPECT_NEAR(steps["prefill_tokens"].get<double>(), json["total_input_tokens"].get<double>() * (1 - hits),
              0.5)
      << "what was found was not computed";
  const Json& c = json["kv"]["capacity"];
  EXPECT_NEAR(c["kv_bytes"].get<double>(),
              c["total_bytes"].get<double>() * c["utilisation"].get<double>() -
                  c["weight_bytes"].get<double>() - c["buffer_bytes"].get<double>() -
                  c["activation_bytes"].get<double>() - c["nontorch_bytes"].get<double>() -
                  c["cuda_graph_bytes"].get<double>() - c["state_bytes"].get<double>(),
              1);
  EXPECT_GE(json["kv"]["capacity_blocks"], c["blocks_low"]);
  EXPECT_LE(json["kv"]["capacity_blocks"], c["blocks_high"]);
  EXPECT_GE(json["duration"].get<double>() * 1.000001, steps["busy_s"].get<double>()) << "one engine";
}

}  // namespace
}  // namespace tessera
