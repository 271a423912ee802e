// Exact numbers from text. Times become whole seconds and picoseconds by integer arithmetic, so no
// digit of a trace is lost to a double, and no locale or C library can change a result.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

// A point on a trace's own clock: seconds and 0 <= ps < 10^12 of the next one.
struct Instant {
  std::int64_t s = 0;
  std::int64_t ps = 0;
};

// `problem` is null when the text was fine, else it ends a sentence such as "'x' is not a number".
template <class T>
struct Parsed {
  T value{};
  const char* problem = nullptr;
};

// An unsigned decimal integer up to `max`.
Parsed<std::uint64_t> parse_integer(std::string_view text, std::uint64_t max);

// A decimal such as 12, 0.25 or 1e-05, at least 0, times 10^exponent seconds (-3: milliseconds);
// rounded to the nearest picosecond.
Parsed<Instant> parse_duration(std::string_view text, int exponent);

// 2023-11-16 18:15:46.6805900, also with T in the middle and Z or +hh:mm at the end.
Parsed<Instant> parse_timestamp(std::string_view text);

// A finite decimal at least 0 as a double, for rates and shape parameters.
Parsed<double> parse_decimal(std::string_view text);

// The text of an error: `'abc' is not a number`.
std::string describe(std::string_view text, const char* problem);

// Seconds with as many decimals as needed, e.g. 4.314579; `exponent` -3 writes milliseconds.
std::string decimal_text(std::int64_t ps, int exponent = 0);

}  // namespace tessera
