// One JSON object on one line, walked without a tree: what is taken, and where broken text is broken.
#include "traces/json_line.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/unit/traces/trace_testing.hpp"
#include "traces/json_request.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::open_text;
using trace_testing::rows_of;

using Pairs = std::vector<std::pair<std::string, std::string>>;

// Keys and scalars of a line; nested values are skipped and stand as "...".
Pairs walk(const std::string& line) {
  JsonLine json(line, {"t.jsonl", 7, 0});
  Pairs out;
  json.begin();
  std::string_view key;
  while (json.next(key)) {
    const bool nested = json.nested();
    if (nested) json.skip();
    out.emplace_back(key, nested ? "..." : std::string(json.scalar()));
  }
  return out;
}

TEST(JsonLine, TakesKeysAndValuesInTheirOrder) {
  EXPECT_EQ(walk("{}"), Pairs{});
  EXPECT_EQ(walk(R"( { "a" : 1 ,"b":"x y"	, "c":true}  )"),
            (Pairs{{"a", "1"}, {"b", "x y"}, {"c", "true"}}));
  EXPECT_EQ(walk(R"({"a":-1.5e-3,"b":null,"c":""})"), (Pairs{{"a", "-1.5e-3"}, {"b", "null"}, {"c", ""}}));
}

TEST(JsonLine, EscapesStayAsWrittenAndEndNoText) {
  EXPECT_EQ(walk(R"({"a\"b":"c\\","d":"\u0041\n"})"), (Pairs{{R"(a\"b)", R"(c\\)"}, {"d", R"(\u0041\n)"}}));
}

TEST(JsonLine, NestedValuesAreSkippedWhateverTheyHold) {
  EXPECT_EQ(walk(R"({"a":[],"b":{},"c":[[1,{"x":"]}"}],"}"],"d":4})"),
            (Pairs{{"a", "..."}, {"b", "..."}, {"c", "..."}, {"d", "4"}}));
  std::string deep = "{\"a\":" + std::string(100'000, '[') + std::string(100'000, ']') + ",\"b\":1}";
  EXPECT_EQ(walk(deep), (Pairs{{"a", "..."}, {"b", "1"}})) << "no recursion: depth costs no stack";
}

struct Broken {
  const char* line;
  int column;
  const char* mention;
};

TEST(JsonLine, BrokenTextIsNamedWithItsColumn) {
  const std::vector<Broken> cases = {
      {"", 1, "expected '{' at the start of a request"},
      {"[1]", 1, "expected '{'"},
      {"\"a\"", 1, "expected '{'"},
      {"{", 2, "expected '\"'"},
      {"{a:1}", 2, "expected '\"'"},
      {"{'a':1}", 2, "expected '\"'"},
      {"{\"a\"}", 5, "expected ':' after a key"},
      {"{\"a\" 1}", 6, "expected ':' after a key"},
      {"{\"a\":}", 6, "expected a number"},
      {"{\"a\":1", 7, "expected ',' between two values"},
      {"{\"a\":1,}", 8, "expected '\"'"},
      {"{\"a\":1 \"b\":2}", 8, "expected ',' between two values"},
      {"{\"a\":1,,\"b\":2}", 8, "expected '\"'"},
      {"{\"a\":\"x}", 6, "the text is not closed"},
      {"{\"a\":\"x\\\"}", 6, "the text is not closed"},
      {"{\"a\":[1,2", 10, "the line ends inside a value"},
      {"{\"a\":1}{\"b\":2}", 8, "text after the closing '}'"},
      {"{\"a\":1},", 8, "text after the closing '}'"},
  };
  for (const Broken& broken : cases) {
    const std::string message = input_error([&] { walk(broken.line); });
    EXPECT_TRUE(message.starts_with("t.jsonl:7:" + std::to_string(broken.column) + ": "))
        << broken.line << ": " << message;
    EXPECT_NE(message.find(broken.mention), std::string::npos) << broken.line << ": " << message;
  }
}

std::vector<std::uint64_t> integers_of(const std::string& line) {
  JsonLine json(line, {"t.jsonl", 7, 0});
  std::vector<std::uint64_t> values{9, 9};
  std::string_view key;
  json.begin();
  if (json.next(key)) json.integers(values);
  json.next(key);
  return values;
}

TEST(JsonLine, ListsOfIntegersHoldAnyUnsigned64) {
  EXPECT_EQ(integers_of(R"({"a":[]})"), std::vector<std::uint64_t>{});
  EXPECT_EQ(integers_of(R"({"a": [ 0 , 18446744073709551615,7 ] })"),
            (std::vector<std::uint64_t>{0, UINT64_MAX, 7}));
  for (const auto& [line, mention] :
       {std::pair{R"({"a":[1,]})", "expected a number"},
        {R"({"a":[1 2]})", "expected ',' or ']' in a list"},
        {R"({"a":1})", "expected '[' at the start of a list"},
        {R"({"a":[18446744073709551616]})", "'18446744073709551616' is too large"},
        {R"({"a":[1.5]})", "'1.5' is not a whole number"},
        {R"({"a":["1"]})", "is not a number"},
        {R"({"a":[[1]]})", "is not a number"},
        {R"({"a":[null]})", "'null' is not a number"},
        {R"({"a":[1)", "expected ',' or ']'"}}) {
    const std::string message = input_error([&] { integers_of(line); });
    EXPECT_TRUE(message.starts_with("t.jsonl:7:")) << message;
    EXPECT_NE(message.find(mention), std::string::npos) << line << ": " << message;
  }
}

RC_GTEST_PROP(JsonLineProperty, AnyIntegersWrittenAreRead, (const std::vector<std::uint64_t>& values)) {
  std::string line = "{\"a\":[";
  for (std::size_t i = 0; i < values.size(); ++i) line += (i > 0 ? ", " : "") + std::to_string(values[i]);
  RC_ASSERT(integers_of(line + "]}") == values);
}

RC_GTEST_PROP(JsonLineProperty, JunkIsReadOrRefusedNeverMore, ()) {
  const auto line = *rc::gen::container<std::string>(
      rc::gen::element('{', '}', '[', ']', '"', ':', ',', '\\', ' ', '1', '-', 'a'));
  std::size_t bytes = 0;
  try {
    for (const auto& [key, value] : walk("{" + line)) bytes += key.size() + 2 + (value == "..." ? 2 : 1);
    RC_ASSERT(bytes <= line.size());
  } catch (const InputError&) {
  }
}

// --- one request ----------------------------------------------------------------------------------

const std::string kRow = R"({"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1]})";

TEST(JsonRequest, NamesFileLineAndKeyOfWhatIsWrong) {
  const auto second = [](const std::string& row) {
    return input_error([&] { open_text(kRow + "\n\n" + row + "\n"); });
  };
  // The empty line counts: the broken row is line 3.
  EXPECT_TRUE(second(R"({"timestamp": -1, "input_length": 5, "output_length": 1})")
                  .starts_with("trace:3: timestamp: '-1' is negative, expected a time in milliseconds"));
  EXPECT_TRUE(second(R"({"timestamp": 0, "input_length": 0, "output_length": 1})")
                  .starts_with("trace:3: input_length: "));
  EXPECT_TRUE(second(R"({"timestamp": 0, "input_length": 5, "output_length": 2.5})")
                  .starts_with("trace:3: output_length: '2.5' is not a whole number"));
  EXPECT_TRUE(second(R"({"timestamp": [0], "input_length": 5, "output_length": 1})")
                  .starts_with("trace:3: timestamp: this key is missing"));
  EXPECT_NE(second(R"({"timestamp":0,"input_length":600,"output_length":1,"hash_ids":[1],"hash_ids":[1]})")
                .find("hash_ids: this key stands twice"),
            std::string::npos);
}

TEST(JsonRequest, WithoutHashIdsARequestHasNoBlocks) {
  const auto rows =
      rows_of(kRow + "\n" + R"({"timestamp": 1, "input_length": 5, "output_length": 1})" + "\n");
  EXPECT_EQ(rows[0].blocks.size(), 1U);
  EXPECT_TRUE(rows[1].blocks.empty()) << "the row before it leaves none behind";
}

TEST(JsonRequest, NumbersMayStandInQuotes) {
  const auto rows = rows_of(R"({"timestamp": "2", "input_length": "5", "output_length": "1"})"
                            "\n"
                            R"({"timestamp": "3.5", "input_length": "6", "output_length": "2"})");
  EXPECT_EQ(rows[1].arrival_ps, 3 * kPsPerSecond / 2'000) << "milliseconds";
  EXPECT_EQ(rows[1].input_tokens, 6);
}

}  // namespace
}  // namespace tessera
