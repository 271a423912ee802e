// What is written is read back: names that need quotes, output formats by name, figures as JSON, and lines
// and streams at their limits.
#include "traces/writer.hpp"

#include <rapidcheck.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/unit/traces/trace_testing.hpp"
#include "traces/byte_sink.hpp"
#include "traces/commands.hpp"
#include "traces/csv.hpp"
#include "traces/key_trace.hpp"
#include "traces/line_reader.hpp"
#include "traces/stats.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::rows_of;

std::string written(const std::vector<std::string>& ids) {
  std::ostringstream out;
  const auto writer = make_writer("tessera", to_stream(out), TraceInfo{});
  for (const std::string& id : ids)
    writer->write({.input_tokens = 1, .output_tokens = 1, .blocks = {}, .id = id});
  writer->finish();
  return out.str();
}

TEST(CsvWriter, NamesReadBackWhateverTheyHold) {
  EXPECT_TRUE(rc::check("names", [] {
    const auto names = *rc::gen::nonEmpty(
        rc::gen::unique<std::vector<std::string>>(rc::gen::nonEmpty(rc::gen::container<std::string>(
            rc::gen::element('a', '1', ',', '"', ' ', '\t', '#', '\'', '\\', ';')))));
    const auto rows = rows_of(written(names));
    RC_ASSERT(rows.size() == names.size());
    for (std::size_t i = 0; i < names.size(); ++i) RC_ASSERT(rows[i].id == names[i]);
  }));
}

TEST(CsvWriter, QuotesOnlyWhereItMust) {
  EXPECT_EQ(written({"plain-1", "a,b", "say \"x\""}),
            "request_id,arrival_s,input_tokens,output_tokens\n"
            "plain-1,0,1,1\n\"a,b\",0,1,1\n\"say \"\"x\"\"\",0,1,1\n");
}

TEST(CsvWriter, HasTheColumnsTheTraceHas) {
  TraceInfo info;
  info.block_tokens = 16;
  info.has_sessions = info.has_tenants = true;
  std::ostringstream out;
  const auto writer = make_writer("tessera", to_stream(out), info, {"two", "comments"});
  const std::vector<std::uint64_t> blocks = {7, 18'446'744'073'709'551'615U};
  writer->write({.arrival_ps = 1, .input_tokens = 32, .output_tokens = 2, .blocks = blocks, .id = "a"});
  writer->write({.arrival_ps = 2 * kPsPerSecond,
                 .input_tokens = 3,
                 .output_tokens = 4,
                 .session = 5,
                 .blocks = {},
                 .id = {},
                 .tenant = 6});
  writer->finish();
  EXPECT_EQ(out.str(),
            "# two\n# comments\n"
            "request_id,arrival_s,input_tokens,output_tokens,block16_ids,session,tenant\n"
            "a,0.000000000001,32,2,7 18446744073709551615,,0\n"
            "1,2,3,4,,5,6\n");
}

TEST(OutputFormat, FollowsTheNameUnlessItIsGiven) {
  for (const auto& [path, format] : {std::pair{"a.csv", "tessera"},
                                     {"a.csv.gz", "tessera"},
                                     {"a.jsonl", "mooncake"},
                                     {"a.jsonl.gz", "mooncake"},
                                     {"a.jsonl.zst", "mooncake"},
                                     {"a.jsonl.csv", "tessera"},
                                     {"jsonl", "tessera"},
                                     {"-", "tessera"}})
    EXPECT_EQ(output_format("auto", path), format) << path;
  EXPECT_EQ(output_format("mooncake", "a.csv"), "mooncake");
  EXPECT_EQ(output_format("tessera", "a.jsonl"), "tessera");
  EXPECT_EQ(input_error([] { output_format("mooncakes", "a.csv"); }),
            "format: 'mooncakes' cannot be written, expected tessera or mooncake, did you mean 'mooncake'?");
}

TEST(StatsJson, IsJsonOfTheSameFiguresWhateverTheFileIsCalled) {
  for (const char* name : {"a.csv", "with \"quotes\".csv", "back\\slash", "tab\tand\x01", "caf\xc3\xa9"}) {
    TraceInfo info;
    info.file = name;
    info.format = "tessera";
    info.notes = {"one \"note\"", "two"};
    info.skipped = {{"failed", 3}};
    TraceStats stats;
    stats.requests = 2, stats.span_s = 0.5, stats.rate = 4, stats.gap_cv = 1.25;
    stats.block_tokens = 16, stats.block_references = 8, stats.unique_blocks = 4, stats.blocks_used_once = 1;
    stats.prefix_hit_blocks = 2, stats.prompt_tokens = 100, stats.prefix_hit_tokens = 32;
    const auto json = nlohmann::json::parse(stats_json(stats, info));
    EXPECT_EQ(json.at("file"), name);
    EXPECT_EQ(json.at("requests"), 2);
    EXPECT_EQ(json.at("rate_rps"), 4);
    EXPECT_EQ(json.at("interarrival_cv"), 1.25);
    EXPECT_EQ(json.at("skipped").at("failed"), 3);
    EXPECT_EQ(json.at("notes"), (std::vector<std::string>{"one \"note\"", "two"}));
    EXPECT_EQ(json.at("blocks").at("used_once_share"), 0.25);
    EXPECT_EQ(json.at("blocks").at("prefix_hit_ratio"), 0.25);
    EXPECT_EQ(json.at("blocks").at("prefix_hit_token_ratio"), 0.32);
  }
}

// --- lines and streams -----------------------------------------------------------------------------------

TEST(Lines, ANulByteIsNamedWithItsLine) {
  const std::string text("a\nb\0c\n", 6);
  LineReader lines(Source{"t", std::string_view(text)});
  std::string_view line;
  EXPECT_TRUE(lines.next(line));
  EXPECT_EQ(input_error([&] { lines.next(line); }), "t:2: a NUL byte, expected text");
}

TEST(Lines, AByteOrderMarkIsDroppedOnceInFront) {
  const std::string text =
      "\xef\xbb\xbf\xef\xbb\xbf"
      "a\r\r\n\xef\xbb\xbf"
      "b";
  LineReader lines(Source{"t", std::string_view(text)});
  std::string_view line;
  EXPECT_TRUE(lines.next(line));
  EXPECT_EQ(line,
            "\xef\xbb\xbf"
            "a\r")
      << "and one carriage return";
  EXPECT_TRUE(lines.next(line));
  EXPECT_EQ(line,
            "\xef\xbb\xbf"
            "b");
}

// 70 MB without a line end pack into a few kilobytes: a small file must not fill the memory.
TEST(Lines, ALineBeyond64MiBIsRefusedHoweverSmallTheFile) {
  const std::string path = trace_testing::scratch_file("bomb.zst");
  const auto sink = create_file(path);
  sink->write("first\n");
  const std::string piece(1'000'000, 'x');
  for (int i = 0; i < 70; ++i) sink->write(piece);
  sink->finish();
  EXPECT_LT(std::filesystem::file_size(path), 100'000U);
  LineReader lines(Source{path, std::nullopt});
  std::string_view line;
  EXPECT_TRUE(lines.next(line));
  EXPECT_EQ(input_error([&] { lines.next(line); }),
            path + ":2: a line longer than 64 MiB, expected one request per line");
}

TEST(Bytes, PeekingReadsNoMoreThanAskedAndNoMoreThanThereIs) {
  const std::string text = "abcdef";
  EXPECT_EQ(peek_bytes(Source{"t", std::string_view(text)}, 4), "abcd");
  EXPECT_EQ(peek_bytes(Source{"t", std::string_view(text)}, 100), "abcdef");
  EXPECT_EQ(peek_bytes(Source{"t", std::string_view()}, 4), "");
}

// --- cache keys as text
// --------------------------------------------------------------------------------------

std::vector<std::uint64_t> keys_of(const std::string& text) {
  const auto reader = open_keys(Source{"keys", std::string_view(text)}, "keys");
  std::vector<std::uint64_t> keys;
  for (KeyAccess access; reader->next(access);) keys.push_back(access.key);
  return keys;
}

TEST(Keys, OnlyWholeNumbersBelow2To64AreThemselves) {
  // FNV-1a of "a" by its authors' test vectors.
  EXPECT_EQ(keys_of("0\n18446744073709551615\na\n"),
            (std::vector<std::uint64_t>{0, UINT64_MAX, 0xaf63dc4c8601ec8cULL}));
  const auto hashed = keys_of("18446744073709551616\n-1\n1.0\n+1\n 1\n");
  const std::set<std::uint64_t> different(hashed.begin(), hashed.end());
  EXPECT_EQ(different.size(), 5U);
  EXPECT_FALSE(different.contains(1));
}

TEST(CsvTable, ValuesKnowTheirRange) {
  const std::string bytes = "a,b\n7,1e309\n,-1\n";
  CsvTable table(Source{"t.csv", std::string_view(bytes)}, {"a", "b"});
  ASSERT_TRUE(table.next());
  EXPECT_EQ(input_error([&] { (void)table.integer(0, 3); }),
            "t.csv:2: a: '7' is too large, expected a whole number from 0 to 3");
  EXPECT_EQ(input_error([&] { (void)table.decimal(1); }),
            "t.csv:2: b: '1e309' is too large, expected a number, at least 0");
  ASSERT_TRUE(table.next());
  EXPECT_EQ(input_error([&] { (void)table.timestamp(0); }),
            "t.csv:3: a: '' is empty, expected YYYY-MM-DD HH:MM:SS.fraction");
  EXPECT_EQ(input_error([&] { (void)table.duration(1); }),
            "t.csv:3: b: '-1' is negative, expected a time in seconds, at least 0");
}

}  // namespace
}  // namespace tessera
