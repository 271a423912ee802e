// Errors a user can cause. Everything else is a programmer error and asserts (see check.hpp).
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace tessera {

// Where in an input something stands. line and column count from 1; 0 means "not known".
struct Location {
  std::string file;
  int line = 0;
  int column = 0;
};

// "file:line:column", leaving out what is not known.
std::string to_string(const Location& at);

// Bad usage, configuration or input: exit code 2. what() reads
// "file:line:column: key: problem, expected ..., did you mean ...?".
class InputError : public std::runtime_error {
 public:
  explicit InputError(const std::string& message) : std::runtime_error(message) {}
  InputError(const Location& at, const std::string& message)
      : std::runtime_error(to_string(at) + ": " + message) {}
};

// The input was fine but the run could not be completed: exit code 1.
class RunError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace tessera
