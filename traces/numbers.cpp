#include "traces/numbers.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "models/base/units.hpp"

namespace tessera {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr const char* kEmpty = "is empty";
constexpr const char* kNotANumber = "is not a number";
constexpr const char* kNegative = "is negative";
constexpr const char* kTooLarge = "is too large";

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

// mantissa x 10^exponent of a plain decimal; 30 significant digits are kept, more are dropped
// (they are below a picosecond in any time a trace can state).
struct Decimal {
  Wide mantissa = 0;
  int exponent = 0;
  const char* problem = nullptr;
};

Decimal read_decimal(std::string_view text) {
  Decimal out;
  if (text.empty()) return {0, 0, kEmpty};
  const bool negative = text.front() == '-';
  if (negative || text.front() == '+') text.remove_prefix(1);
  int digits = 0;
  int kept = 0;
  bool point = false;
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.' && !point) {
      point = true;
      continue;
    }
    if (!is_digit(c)) break;
    ++digits;
    if (kept < 30) {
      out.mantissa = out.mantissa * 10 + static_cast<unsigned>(c - '0');
      if (out.mantissa != 0) ++kept;
      if (point) --out.exponent;
    } else if (!point) {
      return {0, 0, kTooLarge};
    }
  }
  if (digits == 0) return {0, 0, kNotANumber};
  if (i < text.size()) {
    if (text[i] != 'e' && text[i] != 'E') return {0, 0, kNotANumber};
    ++i;
    const bool down = i < text.size() && text[i] == '-';
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
    if (i == text.size()) return {0, 0, kNotANumber};
    int power = 0;
    for (; i < text.size(); ++i) {
      if (!is_digit(text[i])) return {0, 0, kNotANumber};
      power = power < 10'000 ? power * 10 + (text[i] - '0') : power;
    }
    out.exponent += down ? -power : power;
  }
  if (negative && out.mantissa != 0) out.problem = kNegative;
  return out;
}

// Two-digit field at `at`; -1 if it is none.
int two_digits(std::string_view text, std::size_t at) {
  if (at + 2 > text.size() || !is_digit(text[at]) || !is_digit(text[at + 1])) return -1;
  return (text[at] - '0') * 10 + (text[at + 1] - '0');
}

// Days from 1970-01-01 in the Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
std::int64_t days_from_civil(int year, int month, int day) {
  const int y = month <= 2 ? year - 1 : year;
  const int era = y / 400;
  const int year_of_era = y - era * 400;
  const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return std::int64_t{era} * 146'097 + day_of_era - 719'468;
}

int days_in_month(int year, int month) {
  constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return kDays[static_cast<std::size_t>(month - 1)] + (month == 2 && leap ? 1 : 0);
}

}  // namespace

Parsed<std::uint64_t> parse_integer(std::string_view text, std::uint64_t max) {
  if (text.empty()) return {0, kEmpty};
  if (text.front() == '-') {
    const Decimal value = read_decimal(text);
    return {0, value.problem != nullptr ? value.problem : kNotANumber};
  }
  std::uint64_t value = 0;
  for (const char c : text) {
    if (!is_digit(c))
      return {0, read_decimal(text).problem == nullptr ? "is not a whole number" : kNotANumber};
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (digit > max || value > (max - digit) / 10) return {0, kTooLarge};
    value = value * 10 + digit;
  }
  return {value, nullptr};
}

Parsed<Instant> parse_duration(std::string_view text, int exponent) {
  const Decimal decimal = read_decimal(text);
  if (decimal.problem != nullptr) return {{}, decimal.problem};
  constexpr Wide kLimit = Wide{1'000'000'000'000} * 1'000'000'000'000;  // 10^12 s in ps
  Wide ps = decimal.mantissa;
  int power = decimal.exponent + 12 + exponent;
  if (ps == 0) return {};
  for (; power > 0; --power) {
    if (ps > kLimit) return {{}, kTooLarge};
    ps *= 10;
  }
  if (power < 0) {
    for (; power < -1 && ps != 0; ++power) ps /= 10;
    ps = (ps + 5) / 10;
  }
  if (ps > kLimit) return {{}, kTooLarge};
  const auto second = static_cast<Wide>(kPsPerSecond);
  return {{static_cast<std::int64_t>(ps / second), static_cast<std::int64_t>(ps % second)}, nullptr};
}

Parsed<Instant> parse_timestamp(std::string_view text) {
  constexpr const char* kBad = "is not a time stamp";
  if (text.empty()) return {{}, kEmpty};
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' || (text[10] != ' ' && text[10] != 'T') ||
      text[13] != ':' || text[16] != ':')
    return {{}, kBad};
  const int century = two_digits(text, 0);
  const int year = two_digits(text, 2);
  const int month = two_digits(text, 5);
  const int day = two_digits(text, 8);
  const int hour = two_digits(text, 11);
  const int minute = two_digits(text, 14);
  const int second = two_digits(text, 17);
  if (century < 0 || year < 0 || month < 1 || month > 12 || day < 1 ||
      day > days_in_month(century * 100 + year, month) || hour < 0 || hour > 23 || minute < 0 ||
      minute > 59 || second < 0 || second > 60)
    return {{}, kBad};
  Instant out{
      days_from_civil(century * 100 + year, month, day) * 86'400 + hour * 3'600 + minute * 60 + second, 0};
  std::size_t i = 19;
  if (i < text.size() && text[i] == '.') {
    std::int64_t scale = kPsPerSecond;
    for (++i; i < text.size() && is_digit(text[i]); ++i) {
      scale /= 10;
      out.ps += (text[i] - '0') * scale;
    }
    if (scale == kPsPerSecond) return {{}, kBad};
  }
  if (i == text.size()) return {out, nullptr};
  if (text[i] == 'Z' && i + 1 == text.size()) return {out, nullptr};
  const bool zone = (text[i] == '+' || text[i] == '-') && i + 6 == text.size() && text[i + 3] == ':';
  const int zone_hours = zone ? two_digits(text, i + 1) : -1;
  const int zone_minutes = zone ? two_digits(text, i + 4) : -1;
  if (zone_hours < 0 || zone_hours > 14 || zone_minutes < 0 || zone_minutes > 59) return {{}, kBad};
  const int offset = zone_hours * 3'600 + zone_minutes * 60;
  out.s += text[i] == '+' ? -offset : offset;
  return {out, nullptr};
}

Parsed<double> parse_decimal(std::string_view text) {
  const Decimal decimal = read_decimal(text);
  if (decimal.problem != nullptr) return {0, decimal.problem};
  if (decimal.mantissa == 0) return {0, nullptr};
  if (text.front() == '+') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{}) return {value, nullptr};
  // No double is that large, or that near to 0: the exponent says which, the digits are at most 30.
  return {0, decimal.exponent > 0 ? kTooLarge : nullptr};
}

std::string describe(std::string_view text, const char* problem) {
  constexpr std::size_t kShown = 40;
  std::string shown;
  for (const char c : text.substr(0, kShown))
    shown += (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) ? '?' : c;
  if (text.size() > kShown) shown += "...";
  return "'" + shown + "' " + problem;
}

std::string decimal_text(std::int64_t ps, int exponent) {
  std::array<char, 32> buffer{};
  std::int64_t unit = kPsPerSecond;
  for (int e = exponent; e < 0; ++e) unit /= 10;
  std::size_t i = buffer.size();
  std::int64_t rest = ps % unit;
  if (rest != 0) {
    bool trailing = true;
    for (std::int64_t scale = unit; scale > 1; scale /= 10, rest /= 10) {
      const auto digit = static_cast<char>('0' + rest % 10);
      if (trailing && digit == '0') continue;
      trailing = false;
      buffer[--i] = digit;
    }
    buffer[--i] = '.';
  }
  std::int64_t whole = ps / unit;
  do {
    buffer[--i] = static_cast<char>('0' + whole % 10);
    whole /= 10;
  } while (whole != 0);
  return {buffer.data() + i, buffer.size() - i};
}

}  // namespace tessera
