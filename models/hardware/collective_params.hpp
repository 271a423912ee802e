// Parameters of the collective closed forms (kernels/cost/collective.hpp).
#pragma once

#include <string>

#include "models/base/spec.hpp"

namespace tessera {

struct CollectiveParams {
  std::string source;
  void describe(Fields& f);
};

}  // namespace tessera
