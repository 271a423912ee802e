// Small strong types for the quantities that must not be mixed.
//
// Time is a count of integer picoseconds, so sums are exact and associative; 2^63 ps is 106 days,
// which is why traces that span more than 100 days are refused.
#pragma once

#include <cmath>
#include <compare>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace tessera {

template <class Tag>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(std::int64_t count) : count_(count) {}
  [[nodiscard]] constexpr std::int64_t count() const { return count_; }

  constexpr Quantity& operator+=(Quantity other) {
    count_ += other.count_;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity other) {
    count_ -= other.count_;
    return *this;
  }
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return a += b; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return a -= b; }
  friend constexpr Quantity operator*(Quantity a, std::int64_t n) { return Quantity{a.count_ * n}; }
  friend constexpr Quantity operator*(std::int64_t n, Quantity a) { return a * n; }
  friend constexpr std::int64_t operator/(Quantity a, Quantity b) { return a.count_ / b.count_; }
  friend constexpr auto operator<=>(Quantity, Quantity) = default;

 private:
  std::int64_t count_ = 0;
};

using Time = Quantity<struct TimeTag>;      // picoseconds
using Bytes = Quantity<struct BytesTag>;    // bytes
using Tokens = Quantity<struct TokensTag>;  // tokens

inline constexpr std::int64_t kPsPerUs = 1'000'000;
inline constexpr std::int64_t kPsPerMs = 1'000'000'000;
inline constexpr std::int64_t kPsPerSecond = 1'000'000'000'000;

// Rounds to the nearest picosecond; throws std::overflow_error outside the range of Time.
inline Time picoseconds(double ps) {
  if (!(std::abs(ps) < 9.2e18)) throw std::overflow_error("a time outside +-106 days");
  return Time{static_cast<std::int64_t>(std::llround(ps))};
}
inline Time microseconds(double us) { return picoseconds(us * 1e6); }
inline Time seconds(double s) { return picoseconds(s * 1e12); }
constexpr double to_us(Time t) { return static_cast<double>(t.count()) * 1e-6; }
constexpr double to_ms(Time t) { return static_cast<double>(t.count()) * 1e-9; }
constexpr double to_s(Time t) { return static_cast<double>(t.count()) * 1e-12; }

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
// a / b of what is not negative; of 32-bit numbers, several times as fast.
constexpr std::int64_t quotient(std::int64_t a, std::int64_t b) {
  return (a | b) >> 32 == 0 ? static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b) : a / b;
}

}  // namespace tessera
