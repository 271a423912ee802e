// Parameters of the attention closed forms (kernels/cost/attention.hpp).
#pragma once

#include <string>

#include "models/base/spec.hpp"

namespace tessera {

struct AttentionParams {
  std::string source;
  std::string kernel = "fa2";   // fa2 | fa3
  void describe(Fields& f);
};

}  // namespace tessera
