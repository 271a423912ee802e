// Checks of numbers on the command line. CLI11's own let NaN pass and spell out the largest double where a
// range has no end.
#pragma once

#include <fmt/format.h>

#include <charconv>
#include <functional>
#include <string>

namespace tessera {

// From `least` to `most`, both included; `expected` names the range in words.
inline std::function<std::string(const std::string&)> number_from(double least, double most,
                                                                  const std::string& expected) {
  return [=](const std::string& text) -> std::string {
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    const bool fits = error == std::errc{} && stop == end && value >= least && value <= most;
    return fits ? "" : fmt::format("'{}' is not valid, expected {}", text, expected);
  };
}
inline std::function<std::string(const std::string&)> probability() {
  return number_from(0, 1, "a number from 0 to 1");
}

}  // namespace tessera
