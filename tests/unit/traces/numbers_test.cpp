#include "traces/numbers.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>

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

TEST(ParseInteger, LimitsBelowTenHold) {
  EXPECT_STREQ(parse_integer("7", 3).problem, "is too large");
  EXPECT_STREQ(parse_integer("1", 0).problem, "is too large");
  EXPECT_EQ(parse_integer("3", 3).value, 3U);
  EXPECT_EQ(parse_integer("0", 0).problem, nullptr);
  EXPECT_EQ(parse_integer("0000000000000000000000000000000000000000000005", 9).value, 5U);
}

TEST(ParseInteger, TakesDigitsAlone) {
  for (const auto& [text, problem] : {std::pair{"", "is empty"},
                                      {"+5", "is not a whole number"},
                                      {"1e3", "is not a whole number"},
                                      {"5.0", "is not a whole number"},
                                      {"-", "is not a number"},
                                      {"--5", "is not a number"},
                                      {" 5", "is not a number"},
                                      {"5 ", "is not a number"},
                                      {"1_000", "is not a number"},
                                      {"0x10", "is not a number"},
                                      {"\xd9\xa3", "is not a number"}})  // a digit of another script
    EXPECT_STREQ(parse_integer(text, 1'000'000).problem, problem) << text;
}

TEST(ParseDecimal, IsTheNearestDouble) {
  for (const auto& [text, value] :
       {std::pair{"0.1", 0.1}, {"+2.5", 2.5}, {".5", 0.5}, {"5.", 5.0}, {"1E-3", 1e-3}, {"-0", 0.0}}) {
    const auto parsed = parse_decimal(text);
    ASSERT_EQ(parsed.problem, nullptr) << text;
    EXPECT_EQ(parsed.value, value) << text;
  }
  EXPECT_EQ(parse_decimal("1.7976931348623157e308").value, std::numeric_limits<double>::max());
  EXPECT_EQ(parse_decimal("4.9406564584124654e-324").value, std::numeric_limits<double>::denorm_min());
}

TEST(ParseDecimal, WhatNoDoubleHoldsIsTooLargeOrNothing) {
  for (const char* text : {"1e309", "1000000000e300", "0.001e312", "1e999999999999"})
    EXPECT_STREQ(parse_decimal(text).problem, "is too large") << text;
  for (const char* text : {"1e-331", "0.001e-322", "1e-999999999999"}) {
    EXPECT_EQ(parse_decimal(text).problem, nullptr) << text << ": as in a duration, it rounds to nothing";
    EXPECT_EQ(parse_decimal(text).value, 0) << text;
  }
  for (const char* text : {"nan", "inf", "-inf", "infinity", "1e5x", "0x1p3", "1,5", "", "e5"})
    EXPECT_NE(parse_decimal(text).problem, nullptr) << text;
  EXPECT_STREQ(parse_decimal("-1e-300").problem, "is negative");
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

TEST(ParseTimestamp, KnowsTheCalendar) {
  for (const char* day : {"2023-02-29", "2024-02-30", "1900-02-29", "2023-04-31", "2023-11-31", "2023-01-00"})
    EXPECT_STREQ(parse_timestamp(std::string(day) + " 12:00:00").problem, "is not a time stamp") << day;
  for (const char* day : {"2024-02-29", "2000-02-29", "2023-12-31", "2023-04-30"})
    EXPECT_EQ(parse_timestamp(std::string(day) + " 12:00:00").problem, nullptr) << day;
  // A leap second is the first of the next minute, as in POSIX time.
  EXPECT_EQ(parse_timestamp("2016-12-31 23:59:60").value.s, parse_timestamp("2017-01-01 00:00:00").value.s);
}

TEST(ParseTimestamp, ZonesShiftWestForwardsAndEastBack) {
  const std::int64_t utc = parse_timestamp("2024-05-10 12:00:00").value.s;
  EXPECT_EQ(parse_timestamp("2024-05-10 12:00:00-05:30").value.s, utc + 5 * 3'600 + 30 * 60);
  EXPECT_EQ(parse_timestamp("2024-05-10 12:00:00+14:00").value.s, utc - 14 * 3'600);
  for (const char* zone : {"+15:00", "+02:60", "+0200", "+2:00", "Z ", "z", "+02:00x", " +02:00"})
    EXPECT_NE(parse_timestamp(std::string("2024-05-10 12:00:00") + zone).problem, nullptr) << zone;
}

TEST(ParseTimestamp, DropsDigitsBelowAPicosecond) {
  EXPECT_EQ(parse_timestamp("2024-05-10 12:00:00.0000000000019").value.ps, 1);
  EXPECT_EQ(parse_timestamp("2024-05-10 12:00:00.999999999999999999").value.ps, 999'999'999'999);
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
