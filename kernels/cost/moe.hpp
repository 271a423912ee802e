// Routed experts of one layer on one rank: top-k, permute, two grouped GEMMs, activation, combine.
#pragma once

#include "kernels/cost/moe_load.hpp"
#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera {

OpTime moe_time(const Gpu& gpu, const MoeShape& shape);
// The same with the load of the rank's experts worked out before: it depends on the shape alone.
OpTime moe_time(const Gpu& gpu, const MoeShape& shape, const ExpertLoad& load);
double moe_floor_us(const Gpu& gpu, const MoeShape& shape);
double moe_floor_us(const Gpu& gpu, const MoeShape& shape, const ExpertLoad& load);

}  // namespace tessera
