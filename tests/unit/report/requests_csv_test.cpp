// requests.csv: the columns of the interface, one row a request that left.
#include "sim/report/requests_csv.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kS = 1'000'000'000'000;  // in ps

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::stringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

RequestRecord finished(std::uint32_t row) {
  RequestRecord r;
  r.row = row;
  r.input_tokens = 100, r.output_tokens = 5, r.cached_tokens = 64, r.preemptions = 2;
  r.arrival_ps = kS, r.queued_ps = kS + kS / 4, r.scheduled_ps = kS + kS / 2, r.first_token_ps = 2 * kS;
  r.finish_ps = 4 * kS;
  return r;
}

TEST(RequestsCsv, HasTheColumnsOfTheInterface) {
  RequestsCsv csv;
  csv.add(finished(0), "a");
  const auto lines = lines_of(csv.text());
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0],
            "request_id,arrival_s,input_tokens,output_tokens,cached_tokens,queued_s,scheduled_s,"
            "first_token_s,finish_s,ttft_ms,tpot_ms,e2el_ms,preemptions");
  // From arrival at 1 s: first token after 1 s, the last after 3 s, four gaps in the 2 s between.
  EXPECT_EQ(lines[1],
            "a,1.000000000,100,5,64,1.250000000,1.500000000,2.000000000,4.000000000,1000.000000,500.000000,"
            "3000.000000,2");
}

TEST(RequestsCsv, ARejectedRequestHasNoTimesButItsArrival) {
  RequestRecord r;
  r.row = 7, r.input_tokens = 9, r.output_tokens = 3, r.arrival_ps = 2 * kS;
  RequestsCsv csv;
  csv.add(r, "");
  EXPECT_EQ(lines_of(csv.text())[1], "7,2.000000000,9,3,0,,,,,,,,0") << "named by its place in the trace";
}

TEST(RequestsCsv, OneTokenHasNoTimePerToken) {
  RequestRecord r = finished(0);
  r.output_tokens = 1;
  r.finish_ps = r.first_token_ps;
  RequestsCsv csv;
  csv.add(r, "x");
  EXPECT_NE(csv.text().find(",1000.000000,,1000.000000,"), std::string::npos) << csv.text();
}

TEST(RequestsCsv, RowsAreInOrderOfTheTraceWhateverFinishedFirst) {
  RequestsCsv csv;
  for (const std::uint32_t row : {3U, 0U, 2U, 1U}) csv.add(finished(row), "r" + std::to_string(row));
  const auto lines = lines_of(csv.text());
  ASSERT_EQ(lines.size(), 5U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(lines[i + 1].substr(0, 3), "r" + std::to_string(i) + ",");
}

TEST(RequestsCsv, NamesWithCommasQuotesAndLineBreaksAreQuoted) {
  RequestsCsv csv;
  csv.add(finished(0), "a,b");
  csv.add(finished(1), "say \"x\"");
  csv.add(finished(2), "two\nlines");
  const std::string text = csv.text();
  EXPECT_NE(text.find("\n\"a,b\",1.0"), std::string::npos);
  EXPECT_NE(text.find("\n\"say \"\"x\"\"\",1.0"), std::string::npos);
  EXPECT_NE(text.find("\n\"two\nlines\",1.0"), std::string::npos);
}

TEST(RequestsCsv, PicosecondsSurviveToTheNanosecond) {
  RequestRecord r = finished(0);
  r.arrival_ps = 8'640'000 * kS + 123'456'789'000;  // 100 days in
  RequestsCsv csv;
  csv.add(r, "late");
  EXPECT_NE(csv.text().find("late,8640000.123456"), std::string::npos) << csv.text();
}

TEST(RequestsCsv, AFileIsTheText) {
  RequestsCsv csv;
  csv.add(finished(0), "a");
  const std::string path = test::scratch("requests.csv");
  csv.write(path);
  std::ifstream in(path, std::ios::binary);
  const std::string back((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(back, csv.text());
  EXPECT_FALSE(test::there(path + ".part")) << "written beside, then renamed";
  EXPECT_THROW(csv.write("/nowhere/at/all/requests.csv"), std::runtime_error);
}

}  // namespace
}  // namespace tessera
