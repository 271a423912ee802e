// What open_trace promises whatever the format: time order, start at 0, limits, and the same rows
// whether they are held in memory or streamed.
#include "tests/unit/traces/trace_testing.hpp"

namespace tessera {
namespace {

using trace_testing::open_text;
using trace_testing::rows_of;

const std::string kHeader = "request_id,arrival_s,input_tokens,output_tokens,block16_ids\n";
const std::string kShuffled = kHeader + "r1,30,16,1,1\nr2,10,32,2,1 2\nr3,20,48,3,1 2 3\nr4,10,64,4,9\n";

ReadOptions streaming() {
  ReadOptions options;
  options.hold_bytes = 0;
  return options;
}

TEST(OpenTrace, SortsByArrivalKeepsTiesInFileOrderAndSaysSo) {
  const auto trace = open_text(kShuffled);
  ASSERT_EQ(trace->info().notes.size(), 1U);
  EXPECT_NE(trace->info().notes[0].find("sorted"), std::string::npos);
  const auto rows = trace_testing::all_rows(*trace);
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(rows[0].id, "r2");
  EXPECT_EQ(rows[1].id, "r4");
  EXPECT_EQ(rows[2].id, "r3");
  EXPECT_EQ(rows[3].id, "r1");
  EXPECT_EQ(rows[0].arrival_ps, 0) << "time starts at the earliest row, not at the first";
  EXPECT_EQ(rows[3].arrival_ps, 20 * kPsPerSecond);
  EXPECT_EQ(rows[2].blocks, (std::vector<std::uint64_t>{1, 2, 3})) << "blocks travel with their row";
}

TEST(OpenTrace, OriginIsTheEarliestRowsOwnTime) {
  const auto trace = open_text(kHeader + "r1,30.25,16,1,\nr2,10.75,32,2,\n");
  EXPECT_EQ(trace->info().origin_s, 10);
  EXPECT_EQ(trace->info().origin_ps, 3 * kPsPerSecond / 4);
  EXPECT_EQ(trace->info().span_ps, 39 * kPsPerSecond / 2);
}

TEST(OpenTrace, ASortedTraceHasNoNote) {
  EXPECT_TRUE(open_text(kHeader + "a,1,1,1,\nb,1,1,1,\n")->info().notes.empty());
}

TEST(OpenTrace, StreamedAndHeldRowsAreTheSame) {
  std::string sorted = kHeader;
  for (int i = 0; i < 1'000; ++i)
    sorted +=
        "q" + std::to_string(i) + "," + std::to_string(i / 3) + ".125,40,7,1 " + std::to_string(i) + "\n";
  EXPECT_EQ(rows_of(sorted, streaming()), rows_of(sorted));
  EXPECT_EQ(rows_of(kShuffled, streaming()), rows_of(kShuffled))
      << "too large to hold, out of order: sorted all the same";
  EXPECT_EQ(open_text(sorted, streaming())->info().span_ps, open_text(sorted)->info().span_ps);
}

TEST(OpenTrace, IdsThatDoNotAscendAreStillChecked) {
  EXPECT_EQ(rows_of(kHeader + "b,0,1,1,\na,1,1,1,\nc10,2,1,1,\nc9,3,1,1,\n", streaming()).size(), 4U);
  EXPECT_THROW(rows_of(kHeader + "c9,0,1,1,\nc10,1,1,1,\nc9,2,1,1,\n", streaming()), InputError);
}

TEST(OpenTrace, LimitTakesTheFirstRowsOfTheFile) {
  for (ReadOptions options : {ReadOptions{}, streaming()}) {
    options.limit = 2;
    const auto trace = open_text(kShuffled, options);
    EXPECT_EQ(trace->info().requests, 2);
    const auto rows = trace_testing::all_rows(*trace);
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].id, "r2");
    EXPECT_EQ(rows[1].id, "r1");
  }
  ReadOptions many;
  many.limit = 99;
  EXPECT_EQ(rows_of(kShuffled, many).size(), 4U);
}

TEST(OpenTrace, RowsBehindTheLimitAreNotLookedAt) {
  ReadOptions options;
  options.limit = 1;
  EXPECT_EQ(rows_of(kHeader + "a,0,1,1,\nbroken\n", options).size(), 1U);
}

TEST(OpenTrace, RateScaleTwoHalvesEveryArrival) {
  ReadOptions options;
  options.rate_scale = 2;
  const auto plain = rows_of(kShuffled);
  const auto trace = open_text(kShuffled, options);
  EXPECT_EQ(trace->info().span_ps, 10 * kPsPerSecond);
  const auto fast = trace_testing::all_rows(*trace);
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(2 * fast[i].arrival_ps, plain[i].arrival_ps);
}

TEST(OpenTrace, ExactlyAHundredDaysAreAccepted) {
  EXPECT_EQ(open_text(kHeader + "a,0,1,1,\nb,8640000,1,1,\n")->info().span_ps, kMaxSpanPs);
}

}  // namespace
}  // namespace tessera
