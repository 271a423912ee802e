// Quantities that must not be mixed; time in whole picoseconds.
#include "models/base/units.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <type_traits>

namespace tessera {
namespace {

template <class A, class B>
concept Addable = requires(A a, B b) {
  a + b;
};

TEST(Units, KindsDoNotMix) {
  static_assert(Addable<Time, Time> && Addable<Bytes, Bytes>);
  static_assert(!Addable<Time, Bytes> && !Addable<Tokens, Bytes> && !Addable<Time, int>);
  static_assert(!std::is_convertible_v<std::int64_t, Time>);
  static_assert(std::is_same_v<decltype(Time{} / Time{}), std::int64_t>, "a ratio has no unit");
}

TEST(Units, TimesRoundToTheNearestPicosecond) {
  EXPECT_EQ(microseconds(1).count(), kPsPerUs);
  EXPECT_EQ(microseconds(0.0000004).count(), 0);
  EXPECT_EQ(microseconds(0.0000006).count(), 1);
  EXPECT_EQ(microseconds(-0.0000006).count(), -1);
  EXPECT_EQ(seconds(2).count(), 2 * kPsPerSecond);
  EXPECT_DOUBLE_EQ(to_ms(Time{kPsPerMs}), 1);
  EXPECT_DOUBLE_EQ(to_us(seconds(1)), 1e6);
  EXPECT_DOUBLE_EQ(to_s(microseconds(1e6)), 1);
}

TEST(Units, TimesThatDoNotFitAreRefused) {
  EXPECT_NO_THROW(seconds(100 * 86400.0)) << "100 days, the longest trace";
  EXPECT_THROW(seconds(107 * 86400.0), std::overflow_error);
  EXPECT_THROW(seconds(std::numeric_limits<double>::quiet_NaN()), std::overflow_error);
  EXPECT_THROW(seconds(-std::numeric_limits<double>::infinity()), std::overflow_error);
}

TEST(Units, SumsDoNotDependOnTheirOrder) {
  EXPECT_TRUE(rc::check("associative", [] {
    const auto us = [] { return microseconds(static_cast<double>(*rc::gen::inRange(0, 1 << 30)) / 7); };
    const Time a = us(), b = us(), c = us();
    RC_ASSERT((a + b) + c == a + (b + c));
    RC_ASSERT(a + b - b == a);
    RC_ASSERT(a * 3 == a + a + a);
  }));
}

TEST(Units, DivisionThatLeavesARestRoundsUp) {
  EXPECT_EQ(ceil_div(0, 16), 0);
  EXPECT_EQ(ceil_div(1, 16), 1);
  EXPECT_EQ(ceil_div(16, 16), 1);
  EXPECT_EQ(ceil_div(17, 16), 2);
}

}  // namespace
}  // namespace tessera
