// A subcommand as a program would see it: exit code and both streams.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "models/base/error.hpp"

namespace tessera::test {

struct Captured {
  int code = -1;
  std::string out, err;
  [[nodiscard]] nlohmann::ordered_json json() const { return nlohmann::ordered_json::parse(out); }
};

template <class Command>
Captured captured(const Command& command) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Captured result;
  std::exception_ptr thrown;
  try {
    result.code = command();
  } catch (...) {
    thrown = std::current_exception();
  }
  result.out = testing::internal::GetCapturedStdout();
  result.err = testing::internal::GetCapturedStderr();
  if (thrown) std::rethrow_exception(thrown);
  return result;
}

// What bad input is answered with, or "no error".
template <class Command>
std::string complaint(const Command& command) {
  try {
    captured(command);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace tessera::test
