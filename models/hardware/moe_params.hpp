// Parameters of the fused mixture-of-experts closed form (kernels/cost/moe.hpp).
#pragma once

#include <string>

#include "models/base/spec.hpp"

namespace tessera {

struct MoeParams {
  std::string source;
  void describe(Fields& f);
};

}  // namespace tessera
