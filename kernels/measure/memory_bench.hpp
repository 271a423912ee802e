// Micro-benchmarks of a card's memories; what each measures stands at the head of its file: memory_bench.cpp,
// latency_bench.cpp, kv_bench.cpp.
#pragma once

#include "kernels/measure/point.hpp"

namespace tessera::measure {

Bench hbm_bench();
Bench l2_bench();
Bench latency_bench();
Bench sram_bench();
Bench launch_bench();
Bench host_copy_bench();
Bench in_flight_bench();
Bench kv_gather_bench();
Bench kv_block_copy_bench();

// Mean of the lower and of the upper group when values are cut in two where that leaves the least variance
// inside the groups (two-means in one dimension). Equal values give {x, x}.
struct TwoLevels {
  double low = 0, high = 0;
  double low_share = 1;
};
TwoLevels two_levels(std::vector<double> values);

// One cycle through all of `count` places, in random order (Sattolo), as the index of the next.
std::vector<std::int64_t> random_cycle(std::int64_t count, std::uint64_t seed);

}  // namespace tessera::measure
