// What holds of every request format alike: how its lines may be written, cut and mixed up.
#include <rapidcheck.h>

#include <algorithm>

#include "tests/unit/traces/trace_testing.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::open_text;
using trace_testing::Row;
using trace_testing::rows_of;

struct Sample {
  const char* format;
  std::vector<std::string> lines;  // three requests, after a header where `csv`
  bool csv;
  const char* time;   // the name of its time, to spoil
  const char* input;  // and of its prompt's length
};
void PrintTo(const Sample& sample, std::ostream* out) { *out << sample.format; }

const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = {
      {"tessera",
       {"request_id,arrival_s,input_tokens,output_tokens,block16_ids,session,prompt_class,tenant",
        "r1,0.5,48,4,0 1 2,7,3,1", "r2,0.75,12,50,,,0,2", "r3,2,100,61,0 1,7,1,0"},
       true,
       "arrival_s",
       "input_tokens"},
      {"azure",
       {"TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46.6805900,374,44",
        "2023-11-16 18:15:50.9951690,396,109", "2023-11-16 18:15:51.2,20,31"},
       true,
       "TIMESTAMP",
       "ContextTokens"},
      {"vidur",
       {"arrived_at,num_prefill_tokens,num_decode_tokens", "0.0,374,44", "4.314579,396,109", "5,20,31"},
       true,
       "arrived_at",
       "num_prefill_tokens"},
      {"burstgpt",
       {"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
        "5,ChatGPT,472,18,490,Conversation log", "45,ChatGPT,1087,11,1098,Conversation log",
        "118,GPT-4,417,276,693,API log"},
       true,
       "Timestamp",
       "Request tokens"},
      {"bailian",
       {R"({"chat_id": 10, "parent_chat_id": -1, "timestamp": 61.1, "input_length": 20, "output_length": 31, "type": "text", "hash_ids": [1, 2]})",
        R"({"chat_id": 11, "parent_chat_id": 10, "timestamp": 61.5, "input_length": 16, "output_length": 32, "type": "text", "hash_ids": [1]})",
        R"({"chat_id": 12, "parent_chat_id": -1, "timestamp": 62.1, "input_length": 33, "output_length": 44, "type": "image", "hash_ids": []})"},
       false,
       "timestamp",
       "input_length"},
      {"mooncake",
       {R"({"timestamp": 0, "input_length": 600, "output_length": 52, "hash_ids": [0, 1]})",
        R"({"timestamp": 27, "input_length": 1100, "output_length": 61, "hash_ids": [0, 7, 8]})",
        R"({"timestamp": 3000, "input_length": 12, "output_length": 74, "hash_ids": []})"},
       false,
       "timestamp",
       "input_length"}};
  return all;
}

std::string text_of(const std::vector<std::string>& lines, const char* end = "\n") {
  std::string text;
  for (const std::string& line : lines) text += line + end;
  return text;
}

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> fields(1);
  for (const char c : line) c == ',' ? fields.emplace_back() : fields.back() += std::string(1, c);
  return fields;
}
std::string joined(const std::vector<std::string>& fields) {
  std::string line;
  for (const std::string& field : fields)
    line += (line.empty() && &field == fields.data() ? "" : ",") + field;
  return line;
}

class EveryFormat : public testing::TestWithParam<Sample> {};

TEST_P(EveryFormat, IsKnownByItsContentAndReadWhole) {
  const auto trace = open_text(text_of(GetParam().lines));
  EXPECT_EQ(trace->info().format, GetParam().format);
  EXPECT_EQ(trace->info().requests, 3);
  EXPECT_EQ(trace_testing::all_rows(*trace).size(), 3U);
}

TEST_P(EveryFormat, LineEndsEmptyLinesAndAByteOrderMarkChangeNothing) {
  const auto rows = rows_of(text_of(GetParam().lines));
  EXPECT_EQ(rows_of(text_of(GetParam().lines, "\r\n")), rows);
  EXPECT_EQ(rows_of(text_of(GetParam().lines, "\n\n\r\n")), rows);
  EXPECT_EQ(rows_of("\xef\xbb\xbf" + text_of(GetParam().lines)), rows);
  const std::string text = text_of(GetParam().lines);
  EXPECT_EQ(rows_of(text.substr(0, text.size() - 1)), rows) << "the last line may lack its end";
}

TEST_P(EveryFormat, StreamedRowsAreTheHeldOnes) {
  ReadOptions streamed;
  streamed.hold_bytes = 0;
  EXPECT_EQ(rows_of(text_of(GetParam().lines), streamed), rows_of(text_of(GetParam().lines)));
}

// The leading rows are there or an error is; only the last may be shorter by digits.
TEST_P(EveryFormat, CutAnywhereNoEarlierRowChanges) {
  const std::string text = text_of(GetParam().lines);
  const auto rows = rows_of(text);
  for (std::size_t kept = 0; kept < text.size(); ++kept) {
    const std::string cut = text.substr(0, kept);
    std::vector<Row> read;
    try {
      read = rows_of(cut);
    } catch (const InputError& error) {
      EXPECT_TRUE(std::string(error.what()).starts_with("trace:")) << error.what();
      continue;
    }
    ASSERT_LE(read.size(), rows.size());
    ASSERT_FALSE(read.empty());
    read.pop_back();
    EXPECT_TRUE(std::equal(read.begin(), read.end(), rows.begin())) << "after " << kept << " bytes";
  }
}

TEST_P(EveryFormat, EveryPieceMayComeTwiceOnlyWhereItHasNoName) {
  std::vector<std::string> lines = GetParam().lines;
  lines.push_back(lines.back());
  const bool named = open_text(text_of(GetParam().lines))->info().has_ids;
  if (named)
    EXPECT_NE(input_error([&] { rows_of(text_of(lines)); }).find("too, expected an id of its own"),
              std::string::npos);
  else
    EXPECT_EQ(rows_of(text_of(lines)).size(), 4U);
}

TEST_P(EveryFormat, RowsOutOfOrderComeOutInOrder) {
  std::vector<std::string> lines = GetParam().lines;
  std::swap(lines[lines.size() - 1], lines[lines.size() - 3]);
  const auto rows = rows_of(text_of(lines));
  const auto ordered = rows_of(text_of(GetParam().lines));
  ASSERT_EQ(rows.size(), ordered.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].arrival_ps, ordered[i].arrival_ps);
    EXPECT_EQ(rows[i].input_tokens, ordered[i].input_tokens);
  }
}

// The line with the key's value in the second request replaced, by format.
std::vector<std::string> spoilt(const Sample& sample, const std::string& key, const std::string& value) {
  std::vector<std::string> lines = sample.lines;
  if (sample.csv) {
    const auto names = split(lines[0]);
    auto fields = split(lines[2]);
    fields[static_cast<std::size_t>(std::find(names.begin(), names.end(), key) - names.begin())] = value;
    lines[2] = joined(fields);
  } else {
    const std::size_t at = lines[1].find(": ", lines[1].find("\"" + key + "\"")) + 2;
    lines[1].replace(at, lines[1].find(',', at) - at, value);
  }
  return lines;
}

TEST_P(EveryFormat, ValuesThatAreNoneAreNamedWithLineAndName) {
  const Sample& sample = GetParam();
  const std::string place = sample.csv ? "trace:3: " : "trace:2: ";
  for (const char* value : {"NaN", "-1", "inf", "1e400", "0x10", "1e", "true"})
    for (const char* key : {sample.time, sample.input}) {
      const std::string message = input_error([&] { rows_of(text_of(spoilt(sample, key, value))); });
      EXPECT_TRUE(message.starts_with(place + key + ": '" + value + "' ")) << message;
      EXPECT_NE(message.find(", expected "), std::string::npos) << message;
    }
  for (const char* value : {"0", "2.5", "100000001", "18446744073709551616"}) {
    const std::string message = input_error([&] { rows_of(text_of(spoilt(sample, sample.input, value))); });
    EXPECT_TRUE(message.starts_with(place + sample.input + ": '" + value + "' ")) << message;
    EXPECT_NE(message.find("expected a whole number of tokens from 1 to 100,000,000"), std::string::npos);
  }
}

TEST(EveryCsvFormat, ColumnsStandInAnyOrder) {
  for (const Sample& sample : samples()) {
    if (!sample.csv) continue;
    std::vector<std::string> turned;
    for (const std::string& line : sample.lines) {
      auto fields = split(line);
      std::reverse(fields.begin(), fields.end());
      turned.push_back(joined(fields));
    }
    EXPECT_EQ(rows_of(text_of(turned)), rows_of(text_of(sample.lines))) << sample.format;
  }
}

TEST(EveryCsvFormat, EachColumnItIsKnownByIsAskedForByName) {
  for (const Sample& sample : samples()) {
    if (!sample.csv) continue;
    const auto names = split(sample.lines[0]);
    const auto at = std::find(names.begin(), names.end(), sample.input) - names.begin();
    std::vector<std::string> lines;
    for (const std::string& line : sample.lines) {
      auto fields = split(line);
      fields.erase(fields.begin() + at);
      lines.push_back(joined(fields));
    }
    const std::string message = input_error([&] { rows_of(text_of(lines)); });
    EXPECT_TRUE(message.starts_with(std::string("trace:1: ") + sample.input + ": this column is missing"))
        << message;
  }
}

TEST_P(EveryFormat, AnyOneByteChangedIsReadOrRefused) {
  const std::string text = text_of(GetParam().lines);
  EXPECT_TRUE(rc::check("one byte", [&] {
    std::string other = text;
    other[*rc::gen::inRange<std::size_t>(0, text.size())] = *rc::gen::arbitrary<char>();
    ReadOptions options;
    options.format = GetParam().format;
    try {
      const auto rows = rows_of(other, options);
      RC_ASSERT(!rows.empty() && rows.size() <= 4U);
      RC_ASSERT(rows[0].arrival_ps == 0);
      for (const Row& row : rows) RC_ASSERT(row.input_tokens >= 1 && row.output_tokens >= 1);
    } catch (const InputError& error) {
      RC_ASSERT(std::string(error.what()).starts_with("trace:"));
    }
  }));
}

INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat, testing::ValuesIn(samples()),
                         [](const auto& test) { return std::string(test.param.format); });

}  // namespace
}  // namespace tessera
