// A spec from a piece of YAML, and what it is refused for.
#pragma once

#include <string>

#include "models/base/spec.hpp"
#include "tests/support/refusal.hpp"

namespace tessera::test {

template <class Spec>
Spec spec_of(const std::string& text, const std::string& file) {
  Spec spec;
  read_spec(parse_yaml(text, file), spec);
  return spec;
}
template <class Spec>
std::string spec_error(const std::string& text, const std::string& file) {
  const std::string message = refusal([&] { spec_of<Spec>(text, file); });
  return message.empty() ? "no error" : message;
}

}  // namespace tessera::test
