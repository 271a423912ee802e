// stats, generate and convert as the command line calls them; cache keys.
#include "traces/commands.hpp"

#include <fstream>
#include <sstream>

#include "tests/unit/traces/trace_testing.hpp"
#include "traces/key_trace.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::scratch_file;

const std::string kOwn =
    "request_id,arrival_s,input_tokens,output_tokens,block512_ids,session,prompt_class\n"
    "r1,0,600,5,0 1,7,0\nr2,0.000000000001,512,6,0,,2\n\"odd, \"\"name\"\"\",3.25,1100,7,0 8 9,8,1\n";

std::string written(const std::string& name, const std::string& text) {
  const std::string path = scratch_file(name);
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

std::string convert(const std::string& input, const std::string& output_name, std::ostream& log) {
  TraceConvertOptions options;
  options.input = input;
  options.output = scratch_file(output_name);
  std::ostringstream out;
  EXPECT_EQ(trace_convert(options, out, log), 0);
  EXPECT_TRUE(out.str().empty());
  return options.output;
}

TEST(Convert, OurCsvComesBackWholeHoweverPacked) {
  const std::string input = written("in.csv", kOwn);
  const auto rows = trace_testing::all_rows(*open_trace(input));
  for (const char* name : {"out.csv", "out.csv.gz", "out.csv.zst"}) {
    std::ostringstream log;
    EXPECT_EQ(trace_testing::all_rows(*open_trace(convert(input, name, log))), rows) << name;
    EXPECT_NE(log.str().find("3 requests"), std::string::npos);
  }
}

TEST(Convert, MooncakeKeepsTimesLengthsAndBlocks) {
  std::ostringstream log;
  const std::string output = convert(written("in.csv", kOwn), "out.jsonl.zst", log);
  EXPECT_NE(log.str().find("left out"), std::string::npos) << "sessions and classes are not in that format";
  const auto trace = open_trace(output);
  EXPECT_EQ(trace->info().format, "mooncake");
  auto want = trace_testing::rows_of(kOwn);
  for (auto& row : want) {
    row.id.clear();
    row.session = kNoSession;
    row.prompt_class = 0;
  }
  EXPECT_EQ(trace_testing::all_rows(*trace), want);
}

TEST(Convert, MooncakeRefusesBlocksOfAnotherSize) {
  TraceConvertOptions options;
  options.input =
      written("in.csv", "request_id,arrival_s,input_tokens,output_tokens,block16_ids\na,0,16,1,1\n");
  options.output = scratch_file("out.jsonl");
  std::ostringstream out;
  EXPECT_NE(input_error([&] { trace_convert(options, out, out); }).find("expected 512"), std::string::npos);
}

TEST(Convert, NeverWritesOverItsInput) {
  TraceConvertOptions options;
  options.input = options.output = written("in.csv", kOwn);
  std::ostringstream out;
  EXPECT_THROW(trace_convert(options, out, out), InputError);
  EXPECT_EQ(trace_testing::all_rows(*open_trace(options.input)).size(), 3U);
}

TEST(Convert, ABrokenInputLeavesNoOutput) {
  TraceConvertOptions options;
  options.input = written("in.csv", kOwn + "broken\n");
  options.output = scratch_file("never.csv");
  std::filesystem::remove(options.output);
  std::ostringstream out;
  EXPECT_THROW(trace_convert(options, out, out), InputError);
  EXPECT_FALSE(std::filesystem::exists(options.output));
}

TEST(Convert, NamesRequestsThatHaveNone) {
  std::ostringstream log;
  const auto rows = trace_testing::all_rows(*open_trace(convert(
      written("in.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,1,2\n1,3,4\n"), "out.csv", log)));
  EXPECT_EQ(rows[0].id, "0");
  EXPECT_EQ(rows[1].id, "1");
}

TEST(Convert, UnknownFormatsAreRefused) {
  TraceConvertOptions options;
  options.input = written("in.csv", kOwn);
  options.output = "-";
  options.format = "azure";
  std::ostringstream out;
  EXPECT_NE(input_error([&] { trace_convert(options, out, out); }).find("expected tessera or mooncake"),
            std::string::npos);
}

TEST(Stats, PrintsATableOrJson) {
  TraceStatsOptions options;
  options.file = written("in.csv", kOwn);
  std::ostringstream table;
  EXPECT_EQ(trace_stats(options, table), 0);
  EXPECT_NE(table.str().find("requests"), std::string::npos);
  options.json = true;
  std::ostringstream json;
  EXPECT_EQ(trace_stats(options, json), 0);
  EXPECT_NE(json.str().find("\"requests\": 3,"), std::string::npos) << json.str();
  EXPECT_NE(json.str().find("\"references\": 6,"), std::string::npos) << json.str();
}

TEST(GenerateCommand, CommentsStayOnTheirLine) {
  TraceGenerateOptions options;
  options.spec.lengths = LengthSpec{"fixed:1", "fixed:1", ""};
  options.spec.requests = 2;
  options.output = "-";
  options.comment = {"two\nlines"};
  std::ostringstream out;
  EXPECT_THROW(trace_generate(options, out, out), InputError);
}

TEST(ListFormats, NamesEveryReader) {
  std::ostringstream out;
  EXPECT_EQ(list_trace_formats(out), 0);
  for (const char* name :
       {"tessera", "azure", "vidur", "burstgpt", "bailian", "mooncake", "servegen", "oracle", "keys"})
    EXPECT_NE(out.str().find(name), std::string::npos) << name;
}

// --- cache keys ---------------------------------------------------------------------------------

std::vector<KeyAccess> keys_of(const std::string& bytes, const std::string& format = "auto") {
  const auto reader = open_keys(Source{"keys", std::string_view(bytes)}, format);
  std::vector<KeyAccess> out;
  KeyAccess access;
  while (reader->next(access)) out.push_back(access);
  return out;
}

void append_little_endian(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i) & 0xff);
}
std::string oracle_record(std::uint32_t time, std::uint64_t key, std::uint32_t size, std::int64_t next) {
  std::string record;
  append_little_endian(record, time, 4);
  append_little_endian(record, key, 8);
  append_little_endian(record, size, 4);
  append_little_endian(record, static_cast<std::uint64_t>(next), 8);
  return record;
}

TEST(Keys, NumbersAreThemselvesAndTextIsHashed) {
  const auto accesses = keys_of("17\nuser:4\n17\n\nuser:4\nuser:5\r\n");
  ASSERT_EQ(accesses.size(), 5U);
  EXPECT_EQ(accesses[0].key, 17U);
  EXPECT_EQ(accesses[2].key, 17U);
  EXPECT_EQ(accesses[1].key, accesses[3].key);
  EXPECT_NE(accesses[1].key, accesses[4].key);
}

TEST(Keys, OracleRecordsAreFoundByContent) {
  const std::string bytes = oracle_record(1, 0xfedcba9876543210U, 4096, 2) + oracle_record(1, 5, 1, -1) +
                            oracle_record(9, 0xfedcba9876543210U, 4096, INT64_MAX);
  const auto accesses = keys_of(bytes);
  ASSERT_EQ(accesses.size(), 3U);
  EXPECT_EQ(accesses[0].key, 0xfedcba9876543210U);
  EXPECT_EQ(accesses[0].time, 1U);
  EXPECT_EQ(accesses[0].size, 4096U);
  EXPECT_EQ(accesses[0].next_access, 2);
  EXPECT_EQ(accesses[1].next_access, kNeverAgain);
  EXPECT_EQ(accesses[2].next_access, kNeverAgain) << "int64's largest means never, too";
}

TEST(Keys, BrokenOracleRecordsAreRefused) {
  const std::string good = oracle_record(1, 7, 1, 1) + oracle_record(2, 7, 1, -1);
  EXPECT_NE(input_error([&] { keys_of(good.substr(0, 40), "oracle"); }).find("cut off"), std::string::npos);
  EXPECT_NE(input_error([&] { keys_of(good + oracle_record(3, 7, 1, 0), "oracle"); }).find("not ahead"),
            std::string::npos);
}

TEST(Keys, RequestsAreNoKeys) {
  EXPECT_NE(input_error([] { keys_of("TIMESTAMP,ContextTokens,GeneratedTokens\n"); }).find("holds requests"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera
