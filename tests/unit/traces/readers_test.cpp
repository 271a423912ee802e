// One small file per format: what a reader takes from it.
#include <cmath>

#include "tests/unit/traces/trace_testing.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

using trace_testing::open_text;
using trace_testing::Row;
using trace_testing::rows_of;

constexpr std::int64_t kSecond = kPsPerSecond;

ReadOptions with_lengths() {
  ReadOptions options;
  options.lengths = LengthSpec{"fixed:100", "fixed:20", ""};
  return options;
}

TEST(AzureReader, CountsTimeFromTheFirstRow) {
  const auto trace = open_text(
      "TIMESTAMP,ContextTokens,GeneratedTokens\n"
      "2023-11-16 18:15:46.6805900,374,44\n"
      "2023-11-16 18:15:50.9951690,396,109\n");
  EXPECT_EQ(trace->info().format, "azure");
  EXPECT_EQ(trace->info().requests, 2);
  EXPECT_EQ(trace->info().span_ps, 4'314'579'000'000);
  EXPECT_EQ(trace->info().origin_s, 1'700'158'546);
  EXPECT_EQ(trace->info().origin_ps, 680'590'000'000);
  const auto rows = trace_testing::all_rows(*trace);
  EXPECT_EQ(rows[0], (Row{0, 374, 44, 0, kNoSession, {}, ""}));
  EXPECT_EQ(rows[1], (Row{4'314'579'000'000, 396, 109, 0, kNoSession, {}, ""}));
}

TEST(AzureReader, CrossesMidnightAndTheYear) {
  const auto rows = rows_of(
      "TIMESTAMP,ContextTokens,GeneratedTokens\n"
      "2023-12-31 23:59:59.5000000+00:00,1,1\n"
      "2024-01-01 00:00:01.0000000+00:00,1,1\n");
  EXPECT_EQ(rows[1].arrival_ps, 3 * kSecond / 2);
}

TEST(MooncakeReader, ReadsMillisecondsAndBlocks) {
  const auto trace = open_text(
      R"({"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]})"
      "\n"
      R"({"hash_ids":[0,7,8],"output_length":6,"input_length":1100,"timestamp":27.5,"extra":{"a":[1,"}"]}})"
      "\n");
  EXPECT_EQ(trace->info().format, "mooncake");
  EXPECT_EQ(trace->info().block_tokens, 512);
  const auto rows = trace_testing::all_rows(*trace);
  EXPECT_EQ(rows[0], (Row{0, 600, 5, 0, kNoSession, {0, 1}, ""}));
  EXPECT_EQ(rows[1], (Row{27'500'000'000, 1100, 6, 0, kNoSession, {0, 7, 8}, ""}));
}

TEST(VidurReader, ReadsArrivalsWhereThereAreAny) {
  const auto trace =
      open_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,374,44\n4.314579,396,109\n");
  EXPECT_EQ(trace->info().format, "vidur");
  EXPECT_EQ(trace_testing::all_rows(*trace)[1].arrival_ps, 4'314'579'000'000);
}

TEST(VidurReader, WithoutArrivalsAsksForThem) {
  const std::string text =
      "num_prefill_tokens,num_decode_tokens,num_total_tokens,pd_ratio\n3772,54,3826,69.85\n2015,156,2171,12."
      "9\n";
  const std::string message = trace_testing::input_error([&] { open_text(text); });
  EXPECT_NE(message.find("no arrival times"), std::string::npos) << message;
  EXPECT_NE(message.find("--arrivals poisson"), std::string::npos) << message;

  ReadOptions lengths_only;
  lengths_only.need_arrivals = false;
  const auto trace = open_text(text, lengths_only);
  EXPECT_FALSE(trace->info().has_arrivals);
  EXPECT_EQ(trace_testing::all_rows(*trace)[1].input_tokens, 2015);

  ReadOptions drawn;
  drawn.arrivals = ArrivalSpec{ArrivalSpec::Kind::periodic, 4, 1};
  EXPECT_EQ(rows_of(text, drawn)[1].arrival_ps, kSecond / 4);
}

TEST(VidurReader, KeepsItsOwnArrivals) {
  ReadOptions drawn;
  drawn.arrivals = ArrivalSpec{};
  EXPECT_THROW(open_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n", drawn), InputError);
}

TEST(BurstGptReader, SkipsAndCountsFailedRequests) {
  const auto trace = open_text(
      "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
      "5,ChatGPT,472,18,490,Conversation log\n"
      "45,ChatGPT,1087,0,1087,Conversation log\n"
      "118,GPT-4,417,276,693,API log\n");
  EXPECT_EQ(trace->info().format, "burstgpt");
  EXPECT_EQ(trace->info().requests, 2);
  ASSERT_EQ(trace->info().skipped.size(), 1U);
  EXPECT_EQ(trace->info().skipped[0].rows, 1);
  const auto rows = trace_testing::all_rows(*trace);
  EXPECT_EQ(rows[0], (Row{0, 472, 18, 0, kNoSession, {}, ""}));
  EXPECT_EQ(rows[1], (Row{113 * kSecond, 417, 276, 0, kNoSession, {}, ""}));
}

TEST(BurstGptReader, AllFailedIsNoTrace) {
  const std::string message = trace_testing::input_error([] {
    open_text(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,4,0,4,API log\n");
  });
  EXPECT_NE(message.find("1 rows skipped"), std::string::npos) << message;
}

TEST(BailianReader, FollowsConversationsAndTypes) {
  const auto trace = open_text(
      R"({"chat_id": 10, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 20, "output_length": 3, "type": "text", "turn": 1, "hash_ids": [1, 2]})"
      "\n"
      R"({"chat_id": 11, "parent_chat_id": -1, "timestamp": 61.5, "input_length": 16, "output_length": 3, "type": "search", "turn": 1, "hash_ids": [3]})"
      "\n"
      R"({"chat_id": 12, "parent_chat_id": 10, "timestamp": 62.114, "input_length": 33, "output_length": 4, "type": "text", "turn": 2, "hash_ids": [1, 2, 4]})"
      "\n"
      R"({"chat_id": 13, "parent_chat_id": 12, "timestamp": 63, "input_length": 33, "output_length": 4, "type": "text", "turn": 3, "hash_ids": []})"
      "\n");
  EXPECT_EQ(trace->info().format, "bailian");
  EXPECT_EQ(trace->info().block_tokens, 16);
  const auto rows = trace_testing::all_rows(*trace);
  EXPECT_EQ(rows[0], (Row{0, 20, 3, 0, 10, {1, 2}, "10"}));
  EXPECT_EQ(rows[1], (Row{386'000'000'000, 16, 3, 1, 11, {3}, "11"}));
  EXPECT_EQ(rows[2], (Row{kSecond, 33, 4, 0, 10, {1, 2, 4}, "12"}))
      << "a later turn is of the first turn's session";
  EXPECT_EQ(rows[3].session, 10U);
}

TEST(BailianReader, AnswersToChatsBeforeTheTraceStartASession) {
  const auto rows = rows_of(
      R"({"chat_id": 5, "parent_chat_id": 2, "timestamp": 0, "input_length": 1, "output_length": 1, "type": "text", "turn": 2, "hash_ids": [1]})");
  EXPECT_EQ(rows[0].session, 5U);
}

TEST(TesseraReader, ReadsItsOptionalColumnsInAnyOrder) {
  const auto trace = open_text(
      "# drawn by hand\n"
      "session,request_id,arrival_s,block16_ids,input_tokens,output_tokens,prompt_class,mood\n"
      "7,bench-0,0.5,0 1 2,48,4,3,good\n"
      ",bench-1,0.75,,12,5,0,bad\n");
  EXPECT_EQ(trace->info().format, "tessera");
  EXPECT_EQ(trace->info().block_tokens, 16);
  ASSERT_EQ(trace->info().notes.size(), 1U);
  EXPECT_NE(trace->info().notes[0].find("mood"), std::string::npos);
  const auto rows = trace_testing::all_rows(*trace);
  EXPECT_EQ(rows[0], (Row{0, 48, 4, 3, 7, {0, 1, 2}, "bench-0"}));
  EXPECT_EQ(rows[1], (Row{kSecond / 4, 12, 5, 0, kNoSession, {}, "bench-1"}));
}

TEST(TesseraReader, AcceptsByteOrderMarkCarriageReturnsAndQuotes) {
  const auto rows = rows_of(
      "\xef\xbb\xbf\"request_id\",arrival_s,input_tokens,output_tokens\r\n"
      "\"a, \"\"b\"\"\",0,3,4\r\n"
      "\r\n"
      " c , 1 , \"5\" , 6 ");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0], (Row{0, 3, 4, 0, kNoSession, {}, "a, \"b\""}));
  EXPECT_EQ(rows[1], (Row{kSecond, 5, 6, 0, kNoSession, {}, "c"}));
}

TEST(ServeGenReader, MeetsEachWindowsRate) {
  // Two clients, one of them silent in the second window: 10 + 20 and then 40 requests per second.
  const std::string text =
      "client,window_start_s,rate_rps,interarrival_cv,fit,fit_p1,fit_p2\n"
      "0,600,10,1.0,Gamma,1,0.1\n0,1200,40,0.5,Gamma,4,0.00625\n1,600,20,2.0,Gamma,0.25,0.2\n";
  const auto trace = open_text(text, with_lengths());
  EXPECT_EQ(trace->info().format, "servegen");
  std::int64_t first = 0;
  std::int64_t second = 0;
  for (const Row& row : trace_testing::all_rows(*trace)) {
    ++(row.arrival_ps < 600 * kSecond ? first : second);
    EXPECT_EQ(row.input_tokens, 100);
    EXPECT_LE(row.session, 1U);
  }
  // Standard deviation of a renewal count is CV x sqrt(mean): 6000 at CV 1 and 12000 at CV 2, then 24000 at
  // CV 0.5.
  EXPECT_NEAR(static_cast<double>(first), 18'000, 4 * std::sqrt(6'000 + 4 * 12'000));
  EXPECT_NEAR(static_cast<double>(second), 24'000, 4 * std::sqrt(0.25 * 24'000) + 10);
}

TEST(ServeGenReader, SaysWhatItAssumesAndWantsLengths) {
  const std::string text = "client,window_start_s,rate_rps,interarrival_cv\n0,0,1,1\n";
  EXPECT_NE(trace_testing::input_error([&] { open_text(text); }).find("lengths"), std::string::npos);
  const auto trace = open_text(text, with_lengths());
  ASSERT_FALSE(trace->info().notes.empty());
  EXPECT_NE(trace->info().notes[0].find("Gamma"), std::string::npos);
}

TEST(ServeGenReader, SameSeedSameRequestsOtherSeedOthers) {
  const std::string text = "client,window_start_s,rate_rps,interarrival_cv\n3,0,2,1.5\n9,0,1,1\n";
  ReadOptions a = with_lengths();
  ReadOptions b = with_lengths();
  b.seed = 1;
  EXPECT_EQ(rows_of(text, a), rows_of(text, a));
  EXPECT_NE(rows_of(text, a), rows_of(text, b));
}

TEST(Formats, EachIsFoundByNameAndDescribed) {
  for (const TraceFormat& format : trace_formats()) {
    EXPECT_EQ(&find_format(format.name), &format);
    EXPECT_GT(std::string(format.description).size(), 20U) << format.name;
  }
  const std::string message = trace_testing::input_error([] { find_format("mooncakes"); });
  EXPECT_NE(message.find("did you mean 'mooncake'"), std::string::npos) << message;
}

TEST(Formats, ANamedFormatIsTakenAtItsWord) {
  ReadOptions options;
  options.format = "azure";
  const std::string message = trace_testing::input_error(
      [&] { open_text("arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,1\n", options); });
  EXPECT_NE(message.find("TIMESTAMP"), std::string::npos) << message;
}

}  // namespace
}  // namespace tessera
