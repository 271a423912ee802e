// Words for people: nearest names, numbers with units.
#include "models/base/text.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>

namespace tessera {
namespace {

TEST(Text, BytesHaveBinaryUnits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.00 KiB");
  EXPECT_EQ(human_bytes(1.5 * 1024 * 1024 * 1024), "1.50 GiB");
  EXPECT_EQ(human_bytes(-2048), "-2.00 KiB");
  EXPECT_EQ(human_bytes(5e18), "4440.89 PiB") << "the largest unit takes what is left";
}

TEST(Text, CountsAreGroupedByThousands) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1000), "1,000");
  EXPECT_EQ(human_count(19366), "19,366");
  EXPECT_EQ(human_count(-1234567), "-1,234,567");
  EXPECT_EQ(human_count(-999), "-999");
  EXPECT_EQ(human_count(INT64_MIN), "-9,223,372,036,854,775,808");
}

TEST(Text, SecondsHaveTheUnitThatFits) {
  EXPECT_EQ(human_seconds(1.234e-3), "1.23 ms");
  EXPECT_EQ(human_seconds(2.5e-6), "2.50 us");
  EXPECT_EQ(human_seconds(3e-9), "3.00 ns");
  EXPECT_EQ(human_seconds(59), "59.00 s");
  EXPECT_EQ(human_seconds(600), "10.0 min");
}

TEST(Text, TheNearestNameIsNearEnough) {
  const std::vector<std::string> names{"h100-sxm", "h200-sxm", "a100-sxm-80g", "v100", "l40s"};
  EXPECT_EQ(nearest("h100-smx", names), "h100-sxm") << "two letters swapped";
  EXPECT_EQ(nearest("h100", names), "h100-sxm") << "a beginning means the name it begins";
  EXPECT_EQ(nearest("L40S", names), "l40s");
  EXPECT_EQ(nearest("sxm-80g", names), "a100-sxm-80g") << "a part of one";
  EXPECT_EQ(nearest("bicycle", names), "");
  EXPECT_EQ(nearest("", names), "");
  EXPECT_EQ(nearest("x", {}), "");
  EXPECT_EQ(nearest(std::string(100'000, 'a'), names), "") << "no time is spent on junk";
}

TEST(Text, SuggestionsAreReadyToAppend) {
  EXPECT_EQ(did_you_mean("blcks", {"blocks"}), ", did you mean 'blocks'?");
  EXPECT_EQ(did_you_mean("zebra", {"blocks"}), "");
}

TEST(Text, JoinsWithoutATail) {
  EXPECT_EQ(join({"a", "b", "c"}, ", "), "a, b, c");
  EXPECT_EQ(join({}, ", "), "");
}

TEST(Text, TheShortestTextReadsBackTheSame) {
  EXPECT_EQ(shortest(0.1), "0.1");
  EXPECT_EQ(shortest(0.1 + 0.2), "0.30000000000000004");
  EXPECT_TRUE(rc::check("shortest reads back", [](double value) {
    RC_ASSERT(std::strtod(shortest(value).c_str(), nullptr) == value);
  }));
}

TEST(Text, GroupingOnlyAddsCommas) {
  EXPECT_TRUE(rc::check("a count without its commas is the count", [](std::int64_t count) {
    std::string text = human_count(count);
    std::erase(text, ',');
    RC_ASSERT(text == std::to_string(count));
  }));
}

}  // namespace
}  // namespace tessera
