#include "traces/numbers.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(ParseDuration, KeepsEveryDigitDownToThePicosecond) {
  const auto t = parse_duration("1700000000.123456789012", 0);
  ASSERT_EQ(t.problem, nullptr);
  EXPECT_EQ(t.value.s, 1'700'000'000);
  EXPECT_EQ(t.value.ps, 123'456'789'012);
}

TEST(ParseDuration, RoundsBeyondPicosecondsToNearest) {
  EXPECT_EQ(parse_duration("0.0000000000014", 0).value.ps, 1);
  EXPECT_EQ(parse_duration("0.0000000000015", 0).value.ps, 2);
  EXPECT_EQ(parse_duration("0.9999999999999", 0).value.s, 1);
}

TEST(ParseDuration, ReadsExponentsAndMilliseconds) {
  EXPECT_EQ(parse_duration("1e-05", 0).value.ps, 10'000'000);
  EXPECT_EQ(parse_duration("2.5E3", 0).value.s, 2'500);
  const auto ms = parse_duration("4314.579", -3);
  EXPECT_EQ(ms.value.s, 4);
  EXPECT_EQ(ms.value.ps, 314'579'000'000);
  EXPECT_EQ(parse_duration("0e99999", 0).value.s, 0);
}

TEST(ParseDuration, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "nan", "NaN", "inf", "abc", ".", "-", "1e", "1e+", "1.2.3", "0x10", "1 2", "1,5"})
    EXPECT_NE(parse_duration(text, 0).problem, nullptr) << text;
  EXPECT_STREQ(parse_duration("-0.5", 0).problem, "is negative");
  EXPECT_STREQ(parse_duration("1e30", 0).problem, "is too large");
  EXPECT_STREQ(parse_duration("1e999999999999", 0).problem, "is too large");
  EXPECT_EQ(parse_duration("-0.0", 0).problem, nullptr) << "minus zero is zero";
}

TEST(ParseInteger, KnowsItsLimit) {
  EXPECT_EQ(parse_integer("18446744073709551615", UINT64_MAX).value, UINT64_MAX);
  EXPECT_STREQ(parse_integer("18446744073709551616", UINT64_MAX).problem, "is too large");
  EXPECT_STREQ(parse_integer("101", 100).problem, "is too large");
  EXPECT_EQ(parse_integer("100", 100).problem, nullptr);
  EXPECT_STREQ(parse_integer("-3", 100).problem, "is negative");
  EXPECT_STREQ(parse_integer("3.5", 100).problem, "is not a whole number");
  EXPECT_STREQ(parse_integer("3x", 100).problem, "is not a number");
}

TEST(ParseTimestamp, CountsSecondsFrom1970) {
  EXPECT_EQ(parse_timestamp("1970-01-01 00:00:00").value.s, 0);
  // `date -u -d '2023-11-16 18:15:46' +%s`
  const auto azure = parse_timestamp("2023-11-16 18:15:46.6805900");
  EXPECT_EQ(azure.value.s, 1'700'158'546);
  EXPECT_EQ(azure.value.ps, 680'590'000'000);
  EXPECT_EQ(parse_timestamp("2024-02-29T00:00:00Z").value.s, 1'709'164'800);
  EXPECT_EQ(parse_timestamp("2024-05-10 02:00:00.5+02:00").value.s,
            parse_timestamp("2024-05-10 00:00:00.5").value.s);
}

TEST(ParseTimestamp, RefusesWhatIsNone) {
  for (const char* text :
       {"", "2023-11-16", "2023-13-16 18:15:46", "2023-11-16 24:15:46", "2023-11-16 18:15:46.",
        "2023-11-16 18:15:46 UTC", "2023-11-16 18:15:46+2:00", "16.11.2023 18:15:46", "20a3-11-16 18:15:46"})
    EXPECT_NE(parse_timestamp(text).problem, nullptr) << text;
}

TEST(DecimalText, ReadsBackAsTheSameTime) {
  EXPECT_EQ(decimal_text(0), "0");
  EXPECT_EQ(decimal_text(4'314'579'000'000), "4.314579");
  EXPECT_EQ(decimal_text(4'314'579'000'000, -3), "4314.579");
  EXPECT_EQ(decimal_text(1), "0.000000000001");
  EXPECT_EQ(decimal_text(8'640'000'000'000'000'001), "8640000.000000000001");
}

TEST(Describe, ShortensAndCleansWhatItQuotes) {
  EXPECT_EQ(describe("a\tb", "is odd"), "'a?b' is odd");
  EXPECT_EQ(describe(std::string(50, 'x'), "is long"), "'" + std::string(40, 'x') + "...' is long");
}

}  // namespace
}  // namespace tessera
