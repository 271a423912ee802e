// Statistics worked out by hand on small traces, and the published ones of real traces.
#include "traces/stats.hpp"

#include <cmath>
#include <filesystem>

#include "tests/unit/traces/trace_testing.hpp"

namespace tessera {
namespace {

TraceStats stats_of(const std::string& text) { return trace_statistics(*trace_testing::open_text(text)); }

TEST(LengthCounts, PercentilesInterpolateBetweenOrderStatistics) {
  LengthCounts counts;
  for (const int tokens : {10, 20, 30, 40, 1'000'000}) counts.add(tokens);
  const auto s = counts.summary();
  EXPECT_DOUBLE_EQ(s.mean, 200'020);
  EXPECT_DOUBLE_EQ(s.p50, 30);
  EXPECT_DOUBLE_EQ(s.p90, 40 + 0.6 * (1'000'000 - 40)) << "rank 0.9 x 4 = 3.6";
  EXPECT_EQ(s.max, 1'000'000);
  EXPECT_EQ(s.total, 1'000'100);
}

TEST(LengthCounts, OneValueIsItsOwnPercentile) {
  LengthCounts counts;
  counts.add(7);
  EXPECT_DOUBLE_EQ(counts.summary().p99, 7);
}

TEST(TraceStats, RateCountsRequestsOverTheSpan) {
  // Gaps 60, 60, 120 s: mean 80, variance 800, so CV = sqrt(800)/80. Minutes hold 1, 1, 1, 0, 1.
  const auto s =
      stats_of("arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,2\n60,1,2\n120,1,2\n240,1,2\n");
  EXPECT_DOUBLE_EQ(s.span_s, 240);
  EXPECT_DOUBLE_EQ(s.rate, 4.0 / 240);
  EXPECT_DOUBLE_EQ(s.peak_minute_rate, 1.0 / 60);
  EXPECT_NEAR(s.gap_cv, std::sqrt(800.0) / 80, 1e-12);
}

TEST(TraceStats, PeakMinuteIsTheFullest) {
  const auto s = stats_of(
      "arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,2\n59.9,1,2\n60,1,2\n61,1,2\n62,1,2\n200,1,2\n");
  EXPECT_DOUBLE_EQ(s.peak_minute_rate, 3.0 / 60);
}

TEST(TraceStats, ASingleRequestHasNoRate) {
  const auto s = stats_of("arrived_at,num_prefill_tokens,num_decode_tokens\n5,1,2\n");
  EXPECT_EQ(s.requests, 1);
  EXPECT_EQ(s.rate, 0);
  EXPECT_EQ(s.gap_cv, 0);
}

TEST(TraceStats, PrefixHitsEndAtTheFirstMiss) {
  // Blocks of 16: the second request hits 1 and 2 (all 20 tokens: the last block is partial), the third
  // hits 1, misses 9, and its 2 behind the miss is no hit. 3 hits of 7 references; 9 is used once.
  const auto s = stats_of(
      "request_id,arrival_s,input_tokens,output_tokens,block16_ids\n"
      "a,0,32,1,1 2\nb,1,20,1,1 2\nc,2,48,1,1 9 2\n");
  EXPECT_EQ(s.block_references, 7);
  EXPECT_EQ(s.unique_blocks, 3);
  EXPECT_EQ(s.blocks_used_once, 1);
  EXPECT_EQ(s.prefix_hit_blocks, 3);
  EXPECT_EQ(s.prefix_hit_tokens, 20 + 16);
  EXPECT_EQ(s.prompt_tokens, 100);
}

TEST(StatsText, JsonEscapesNamesAndOmitsWhatIsUnknown) {
  TraceInfo info;
  info.file = "a \"b\"\\c\n";
  info.has_arrivals = false;
  const std::string json = stats_json(TraceStats{}, info);
  EXPECT_NE(json.find(R"("file": "a \"b\"\\c\u000a")"), std::string::npos) << json;
  EXPECT_EQ(json.find("span_s"), std::string::npos);
  EXPECT_EQ(json.find("blocks"), std::string::npos);
  EXPECT_NE(stats_table(TraceStats{}, info).find("none in this trace"), std::string::npos);
}

// --- real traces ------------------------------------------------------------------------------
// Figures as published with the data set; each trace is skipped where it is not at hand.

struct Published {
  const char* file;
  std::int64_t requests;
  double span_s, rate, peak_minute, cv;  // 0: no arrivals
  std::int64_t input_mean, input_p50, input_p90, input_p99, input_max;
  std::int64_t output_mean, output_p50, output_p90, output_p99, output_max;
};
void PrintTo(const Published& p, std::ostream* out) { *out << p.file; }

class PublishedTrace : public testing::TestWithParam<Published> {};

TEST_P(PublishedTrace, HasItsPublishedStatistics) {
  const Published& want = GetParam();
  const std::string path = std::string(TESSERA_SHARED_DATA) + "/" + want.file;
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  ReadOptions options;
  options.need_arrivals = false;
  const auto trace = open_trace(path, options);
  const auto s = trace_statistics(*trace);
  EXPECT_EQ(s.requests, want.requests);
  EXPECT_EQ(trace->info().requests, want.requests);
  EXPECT_NEAR(s.span_s, want.span_s, 0.5);
  EXPECT_NEAR(s.rate, want.rate, 0.05);
  if (want.peak_minute > 0) {
    EXPECT_NEAR(s.peak_minute_rate, want.peak_minute, 0.005);
  }
  EXPECT_NEAR(s.gap_cv, want.cv, 0.005);
  // Means are published to the token, once rounded up (857.46 as 858).
  EXPECT_NEAR(s.input.mean, static_cast<double>(want.input_mean), 0.6);
  EXPECT_NEAR(s.input.p50, static_cast<double>(want.input_p50), 0.5);
  EXPECT_NEAR(s.input.p90, static_cast<double>(want.input_p90), 1);
  EXPECT_NEAR(s.input.p99, static_cast<double>(want.input_p99), 1);
  EXPECT_EQ(s.input.max, want.input_max);
  EXPECT_NEAR(s.output.mean, static_cast<double>(want.output_mean), 0.5);
  EXPECT_NEAR(s.output.p50, static_cast<double>(want.output_p50), 0.5);
  EXPECT_NEAR(s.output.p90, static_cast<double>(want.output_p90), 1);
  EXPECT_NEAR(s.output.p99, static_cast<double>(want.output_p99), 1);
  EXPECT_EQ(s.output.max, want.output_max);
}

INSTANTIATE_TEST_SUITE_P(
    Real, PublishedTrace,
    testing::Values(Published{"traces/AzureLLMInferenceTrace_conv.csv.gz", 19'366, 3'502, 5.53, 8.45, 1.09,
                              1155, 1020, 2735, 4142, 14'050, 211, 129, 424, 601, 1000},
                    Published{"traces/vidur_splitwise_conv.csv.gz", 19'366, 3'502, 5.53, 8.45, 1.09, 1155,
                              1020, 2735, 4142, 14'050, 211, 129, 424, 601, 1000},
                    Published{"traces/mooncake_fast25_conversation_trace.jsonl.gz", 12'031, 3'537, 3.40, 4.12,
                              3.03, 12'035, 6'909, 27'367, 85'400, 126'195, 343, 350, 597, 1119, 2000},
                    Published{"traces/vidur_arxiv_summarization_llama2.csv.gz", 28'257, 0, 0, 0, 0, 2588,
                              2730, 3702, 3933, 4054, 291, 167, 372, 3271, 4056},
                    Published{"e2e/llmservingsim/RTX4090_Llama-3.1-8B/workload.csv.gz", 300, 29.1, 10.3, 0,
                              0.94, 858, 732, 1460, 2765, 3998, 653, 632, 770, 784, 1021}));

TEST(PublishedBlocks, MooncakeConversationSharesAsPublished) {
  const std::string path =
      std::string(TESSERA_SHARED_DATA) + "/traces/mooncake_fast25_conversation_trace.jsonl.gz";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not here";
  const auto s = trace_statistics(*open_trace(path));
  EXPECT_EQ(s.block_references, 288'500);
  EXPECT_EQ(s.unique_blocks, 182'790);
  EXPECT_NEAR(100.0 * static_cast<double>(s.blocks_used_once) / static_cast<double>(s.unique_blocks), 75.8,
              0.05);
  EXPECT_NEAR(100.0 * static_cast<double>(s.prefix_hit_blocks) / static_cast<double>(s.block_references),
              36.64, 0.005);
  EXPECT_NEAR(100.0 * static_cast<double>(s.prefix_hit_tokens) / static_cast<double>(s.prompt_tokens), 37.36,
              0.005);
}

}  // namespace
}  // namespace tessera
