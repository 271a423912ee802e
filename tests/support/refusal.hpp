// What an action is refused for.
#pragma once

#include <string>

#include "models/base/error.hpp"

namespace tessera::test {

// The message of its InputError; empty if it does what it is told.
template <class Action>
std::string refusal(Action&& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

}  // namespace tessera::test
