// Client rates: windows, silence, CVs and what is refused. Mean rates are held in readers_test.cpp.
#include <map>

#include "tests/unit/traces/trace_testing.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::open_text;
using trace_testing::Row;

const std::string kRates = "client,window_start_s,rate_rps,interarrival_cv\n";

ReadOptions fixed_lengths(std::uint64_t seed = 0) {
  ReadOptions options;
  options.lengths = LengthSpec{"fixed:100", "fixed:20", ""};
  options.seed = seed;
  return options;
}

// Requests per 600 s of the trace's own clock.
std::map<std::int64_t, int> per_window(const std::string& rates) {
  const auto trace = open_text(kRates + rates, fixed_lengths());
  const std::int64_t origin = trace->info().origin_s * kPsPerSecond + trace->info().origin_ps;
  std::map<std::int64_t, int> counts;
  for (const Row& row : trace_testing::all_rows(*trace))
    ++counts[(origin + row.arrival_ps) / (600 * kPsPerSecond) * 600];
  return counts;
}

// A CV of 10^-7 draws gaps of exactly 1/rate: a window of 600 s at rate r holds 600 r arrivals, give or take
// the one on its end.
TEST(ServeGenRates, RegularClientsArriveOnTheBeat) {
  const auto rows = trace_testing::rows_of(kRates + "0,0,2,0.0000001\n", fixed_lengths());
  EXPECT_NEAR(static_cast<double>(rows.size()), 1200, 1);
  for (std::size_t i = 1; i < rows.size(); ++i)
    EXPECT_NEAR(static_cast<double>(rows[i].arrival_ps - rows[i - 1].arrival_ps), kPsPerSecond / 2, 1000);
}

TEST(ServeGenRates, ASilentWindowHoldsNothingHoweverItIsWritten) {
  const auto listed = per_window("0,0,2,0.0000001\n0,600,0,0\n0,1200,2,0.0000001\n");
  EXPECT_EQ(listed.count(600), 0U) << "a rate of 0 is silence";
  EXPECT_NEAR(listed.at(0), 1200, 1);
  EXPECT_NEAR(listed.at(1200), 1200, 1);
  EXPECT_EQ(listed.count(1800), 0U) << "the silent window's start counts for the step: 600 s, not 1200";
  // Left out, it is silent too; another client says that windows last 600 s.
  const auto left_out = per_window("0,0,2,0.0000001\n0,1200,2,0.0000001\n1,2400,1,1\n1,3000,1,1\n");
  EXPECT_EQ(left_out.count(600), 0U);
  EXPECT_EQ(left_out.count(1800), 0U);
}

TEST(ServeGenRates, ASilentFirstWindowSetsTheStepToo) {
  // 300 s of silence, then 300 s at 2 per second.
  const auto rows = trace_testing::rows_of(kRates + "0,0,0,0\n0,300,2,0.0000001\n", fixed_lengths());
  EXPECT_NEAR(static_cast<double>(rows.size()), 600, 1);
}

TEST(ServeGenRates, AGapThatOutlastsItsWindowGoesOnInTheNext) {
  // 1/1000 per second: 0.6 of a gap in each window, so arrivals stand at 1000 s, 2000 s and so on.
  std::string rates;
  for (int start = 0; start < 6'000; start += 600)
    rates += "0," + std::to_string(start) + ",0.001,0.0000001\n";
  const auto trace = open_text(kRates + rates, fixed_lengths());
  EXPECT_EQ(trace->info().origin_s, 1'000);
  const auto rows = trace_testing::all_rows(*trace);
  ASSERT_GE(rows.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(static_cast<double>(rows[i].arrival_ps) / kPsPerSecond, 1000.0 * static_cast<double>(i),
                1e-6);
}

TEST(ServeGenRates, AnotherClientChangesNoClientsArrivals) {
  const auto of_client_7 = [](const std::string& rates) {
    std::vector<std::int64_t> at;
    const auto trace = open_text(kRates + rates, fixed_lengths(3));
    const std::int64_t origin = trace->info().origin_s * kPsPerSecond + trace->info().origin_ps;
    for (const Row& row : trace_testing::all_rows(*trace))
      if (row.session == 7) at.push_back(origin + row.arrival_ps);
    return at;
  };
  const auto alone = of_client_7("7,0,0.5,2\n");
  EXPECT_GT(alone.size(), 100U);
  EXPECT_EQ(of_client_7("7,0,0.5,2\n9,0,3,1\n"), alone);
  EXPECT_EQ(of_client_7("1,0,3,1\n7,0,0.5,2\n"), alone);
}

TEST(ServeGenRates, ALimitTakesTheEarliestRequests) {
  ReadOptions few = fixed_lengths();
  few.limit = 50;
  const std::string text = kRates + "0,0,5,1\n1,0,5,1\n";
  const auto all = trace_testing::rows_of(text, fixed_lengths());
  const auto some = trace_testing::rows_of(text, few);
  ASSERT_EQ(some.size(), 50U);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
}

TEST(ServeGenRates, WhatIsNoRateIsRefusedWithItsPlace) {
  for (const auto& [rows, message] :
       {std::pair{"0,0,1,1\n0,0,1,1\n", "trace:3: window_start_s: '0' does not come after"},
        {"0,0,0,1\n0,0,1,1\n", "trace:3: window_start_s: '0' does not come after"},
        {"0,600,0,1\n0,0,1,1\n", "trace:3: window_start_s: '0' does not come after"},
        {"0,0,1,1001\n", "trace:2: interarrival_cv: '1001' is too large, expected a CV of at most 1,000"},
        {"0,0,1,-1\n", "trace:2: interarrival_cv: '-1' is negative"},
        {"0,0,nan,1\n", "trace:2: rate_rps: 'nan' is not a number"},
        {"0,0,1e309,1\n", "trace:2: rate_rps: '1e309' is too large"},
        {"0,0,,1\n", "trace:2: rate_rps: '' is empty"},
        {"1000001,0,1,1\n", "trace:2: client: '1000001' is too large"},
        {"-1,0,1,1\n", "trace:2: client: '-1' is negative"},
        {"bob,0,1,1\n", "trace:2: client: 'bob' is not a number"},
        {"0,8640001,1,1\n", "trace:2: window_start_s: beyond 100 days"},
        {"0,0,1\n", "trace:2: the row has 3 fields, expected 4"}}) {
    const std::string said = input_error([&] { open_text(kRates + rows, fixed_lengths()); });
    EXPECT_TRUE(said.starts_with(message)) << rows << said;
  }
}

TEST(ServeGenRates, ARateTooSmallForADoubleIsSilence) {
  const auto rows = per_window("0,0,1e-400,1\n0,600,1,0.0000001\n");
  EXPECT_EQ(rows.count(0), 0U);
  EXPECT_NEAR(rows.at(600), 600, 1);
}

}  // namespace
}  // namespace tessera
