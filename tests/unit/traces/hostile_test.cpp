// Files that are broken, absurd or malicious: each is an InputError that names the file and the line
// and says what was expected, never a crash and never a silent repair.
#include <cmath>

#include "tests/unit/traces/trace_testing.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::open_text;

struct Hostile {
  const char* name;
  std::string text;
  const char* where;    // the message starts with this
  const char* mention;  // and holds this
};

void PrintTo(const Hostile& file, std::ostream* out) { *out << file.name; }

const std::string kAzure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
const std::string kOwn = "request_id,arrival_s,input_tokens,output_tokens\n";
const std::string kOwnBlocks = "request_id,arrival_s,input_tokens,output_tokens,block16_ids\n";
const std::string kBurst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";
const std::string kRates = "client,window_start_s,rate_rps,interarrival_cv\n";

std::string moon(const std::string& fields) { return "{" + fields + "}\n"; }

const std::vector<Hostile>& hostile_files() {
  static const std::vector<Hostile> files = {
      {"Empty", "", "trace:1", "empty"},
      {"OnlyByteOrderMark", "\xef\xbb\xbf", "trace:1", "no rows"},
      {"OnlyLineEnds", "\n\n\r\n", "trace:1", "no rows"},
      {"HeaderOnly", kAzure, "trace:1", "no requests"},
      {"BinaryJunk",
       std::string("\x7f"
                   "ELF\x02\x01\x01\x00\x00\x05\x06\x07\x08\x09",
                   14),
       "trace:1", "binary"},
      {"Prose", "once upon a time, there was a trace\n", "trace:1", "no known trace format"},
      {"JsonArray", "[{\"timestamp\": 0}]\n", "trace:1", ""},
      {"JsonOfSomethingElse", "{\"name\": \"x\", \"age\": 3}\n", "trace:1", "no known trace format"},
      {"NulInARow", kAzure + std::string("2023-11-16 18:15:46,3\0,4\n", 25), "trace:", "expected"},
      {"MissingColumn", "TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,3\n", "trace:1: GeneratedTokens",
       "missing"},
      {"MisspeltColumn", "TIMESTAMP,ContextTokens,GeneratedToken\n2023-11-16 18:15:46,3,4\n",
       "trace:1: GeneratedTokens", "is 'GeneratedToken' meant?"},
      {"ColumnInOtherCase", "request_id,Arrival_S,input_tokens,output_tokens\na,0,1,1\n",
       "trace:1: arrival_s", "is 'Arrival_S' meant?"},
      {"ColumnTwice", "TIMESTAMP,ContextTokens,GeneratedTokens,ContextTokens\n", "trace:1: ContextTokens",
       "twice"},
      {"ShortRow", kAzure + "2023-11-16 18:15:46,3,4\n2023-11-16 18:15:47,3\n", "trace:3",
       "2 fields, expected 3"},
      {"LongRow", kAzure + "2023-11-16 18:15:46,3,4,5\n", "trace:2", "4 fields, expected 3"},
      {"NegativeTokens", kAzure + "2023-11-16 18:15:46,-3,4\n", "trace:2: ContextTokens", "is negative"},
      {"ZeroInput", kAzure + "2023-11-16 18:15:46,0,4\n", "trace:2: ContextTokens",
       "expected a whole number of tokens from 1"},
      {"ZeroOutput", kOwn + "a,0,4,0\n", "trace:2: output_tokens",
       "expected a whole number of tokens from 1"},
      {"FractionOfAToken", kOwn + "a,0,4.5,1\n", "trace:2: input_tokens", "is not a whole number"},
      {"NotANumber", kOwn + "a,0,many,1\n", "trace:2: input_tokens", "'many' is not a number"},
      {"NanTokens", kOwn + "a,0,nan,1\n", "trace:2: input_tokens", "'nan' is not a number"},
      {"EmptyField", kOwn + "a,0,,1\n", "trace:2: input_tokens", "is empty"},
      {"PastInt32", kOwn + "a,0,2147483648,1\n", "trace:2: input_tokens", "too large"},
      {"PastInt64", kOwn + "a,0,99999999999999999999999,1\n", "trace:2: input_tokens", "too large"},
      {"HundredMillionAndOneTokens", kOwn + "a,0,100000001,1\n", "trace:2: input_tokens", "100,000,000"},
      {"NanArrival", kOwn + "a,NaN,1,1\n", "trace:2: arrival_s", "'NaN' is not a number"},
      {"InfiniteArrival", kOwn + "a,inf,1,1\n", "trace:2: arrival_s", "'inf' is not a number"},
      {"NegativeArrival", kOwn + "a,-1,1,1\n", "trace:2: arrival_s", "is negative"},
      {"HugeArrival", kOwn + "a,1e300,1,1\n", "trace:2: arrival_s", "too large"},
      {"OverAHundredDays", kOwn + "a,0,1,1\nb,8640001,1,1\n", "trace:3", "100 days"},
      {"OverAHundredDaysBackAndForth", kOwn + "a,5000000,1,1\nb,0,1,1\nc,9000000,1,1\n", "trace:1",
       "100 days"},
      {"NoSuchMonth", kAzure + "2023-13-16 18:15:46,3,4\n", "trace:2: TIMESTAMP", "YYYY-MM-DD"},
      {"NoTimeStamp", kAzure + "yesterday,3,4\n", "trace:2: TIMESTAMP", "'yesterday' is not a time stamp"},
      {"SameIdTwice", kOwn + "a,0,1,1\nb,1,1,1\na,2,1,1\n", "trace:4: request_id", "in line 2 too"},
      {"SameNumberedIdTwice", kOwn + "r1,0,1,1\nr2,1,1,1\nr2,2,1,1\n", "trace:4: request_id",
       "in line 3 too"},
      {"EmptyId", kOwn + ",0,1,1\n", "trace:2: request_id", "is empty"},
      {"OpenQuote", kOwn + "\"a,0,1,1\n", "trace:2", "not closed"},
      {"TextAfterQuote", kOwn + "\"a\"b,0,1,1\n", "trace:2", "closing quote"},
      {"QuotedFieldsBeyondTheHeader", kOwn + "a,0,1,1,\"2\"\n", "trace:2",
       "more fields than the header, expected 4"},
      {"BlockIdOfText", kOwnBlocks + "a,0,64,1,1 x 3\n", "trace:2: block16_ids", "'x' is not a number"},
      {"BlockIdNegative", kOwnBlocks + "a,0,64,1,1 -2\n", "trace:2: block16_ids", "is negative"},
      {"MoreBlocksThanPrompt", kOwnBlocks + "a,0,17,1,1 2 3\n", "trace:2", "at most 2 blocks"},
      {"BlocksOfNoTokens", "request_id,arrival_s,input_tokens,output_tokens,block0_ids\na,0,1,1,\n",
       "trace:1: block0_ids", "expected"},
      {"TwoBlockColumns", "request_id,arrival_s,input_tokens,output_tokens,block16_ids,block32_ids\n",
       "trace:1: block32_ids", "expected one"},
      {"SessionOfText", "request_id,arrival_s,input_tokens,output_tokens,session\na,0,1,1,bob\n",
       "trace:2: session", "'bob'"},
      {"JsonCutOff", "{\"timestamp\": 0, \"input_length\": 5, \"output_len\n", "trace:1", ""},
      {"JsonUnclosedList",
       moon("\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [1, 2"), "trace:1",
       "expected"},
      {"JsonMissingKey",
       moon("\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [1]") +
           moon("\"timestamp\": 1, \"input_length\": 5"),
       "trace:2: output_length", "missing"},
      {"JsonKeyTwice", moon("\"timestamp\": 0, \"timestamp\": 1, \"input_length\": 5, \"output_length\": 1"),
       "trace:1", "stands twice"},
      {"JsonTextForNumber", moon("\"timestamp\": \"soon\", \"input_length\": 5, \"output_length\": 1"),
       "trace:1: timestamp", "'soon' is not a number"},
      {"JsonNull", moon("\"timestamp\": 0, \"input_length\": null, \"output_length\": 1"),
       "trace:1: input_length", "'null' is not a number"},
      {"JsonTextAfterObject", "{\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1} x\n", "trace:1",
       "after the closing"},
      {"JsonNegativeBlock",
       moon("\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [-1]"), "trace:1",
       "is negative"},
      {"JsonTooManyBlocks",
       moon("\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1, \"hash_ids\": [1, 2]"), "trace:1",
       "at most 1 blocks"},
      {"JsonManyValues",
       moon("\"timestamp\": 0, \"input_length\": 5, \"output_length\": 1, "
            "\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,\"l\":1,"
            "\"m\":1,\"n\":1"),
       "trace:1", "more than 16"},
      {"ChatTwice",
       moon("\"chat_id\":1,\"parent_chat_id\":-1,\"timestamp\":0,\"input_length\":5,\"output_length\":1") +
           moon("\"chat_id\":1,\"parent_chat_id\":-1,\"timestamp\":1,\"input_length\":5,\"output_length\":1"),
       "trace:2: chat_id", "in line 1 too"},
      {"BurstGptNegativeAnswer", kBurst + "5,GPT-4,4,-1,3,API log\n", "trace:2: Response tokens",
       "is negative"},
      {"RatesNegative", kRates + "0,0,-1,1\n", "trace:2: rate_rps", "is negative"},
      {"RatesAbsurd", kRates + "0,0,1e9,1\n", "trace:2: rate_rps", "at most 1,000,000"},
      {"RatesWindowsOutOfOrder", kRates + "0,600,1,1\n0,0,1,1\n", "trace:3: window_start_s", "rising"},
      {"RatesAllZero", kRates + "0,0,0,1\n", "trace:2", "no client has a rate"},
      {"CacheKeys", "17\n18\n17\n", "trace:1", "cache keys"},
  };
  return files;
}

class HostileTrace : public testing::TestWithParam<Hostile> {};

TEST_P(HostileTrace, IsRefusedWithFileLineAndAdvice) {
  const Hostile& file = GetParam();
  ReadOptions options;
  options.lengths = LengthSpec{"fixed:10", "fixed:10", ""};
  const std::string message = input_error([&] { trace_testing::all_rows(*open_text(file.text, options)); });
  EXPECT_TRUE(message.starts_with(file.where)) << message;
  EXPECT_NE(message.find(file.mention), std::string::npos) << message;
  EXPECT_NE(message.find("expected"), std::string::npos) << message;
}

INSTANTIATE_TEST_SUITE_P(Files, HostileTrace, testing::ValuesIn(hostile_files()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(HostilePath, AbsentFileAndFolderAreInputErrors) {
  EXPECT_NE(input_error([] { open_trace("/no/such/trace.csv"); }).find("cannot be opened"),
            std::string::npos);
  EXPECT_NE(input_error([] { open_trace(testing::TempDir()); }).find("folder"), std::string::npos);
}

TEST(HostileOptions, LimitAndRateScaleAreChecked) {
  const std::string text = kOwn + "a,0,1,1\nb,80,1,1\n";
  for (const double scale : {0.0, -1.0, 1e7, std::nan("")}) {
    ReadOptions options;
    options.rate_scale = scale;
    EXPECT_THROW(open_text(text, options), InputError) << scale;
  }
  ReadOptions slow;
  slow.rate_scale = 1e-6;  // 80 s become 926 days
  EXPECT_THROW(open_text(text, slow), InputError);
  ReadOptions none;
  none.limit = 0;
  EXPECT_THROW(open_text(text, none), InputError);
}

TEST(HostileRow, ErrorsAtTheEndAreReportedBeforeTheFirstRequest) {
  EXPECT_THROW(open_text(kOwn + "a,0,1,1\nb,1,1,oops\n"), InputError);
}

}  // namespace
}  // namespace tessera
