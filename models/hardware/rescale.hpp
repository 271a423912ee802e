// Kernel behaviour fitted on one card, carried to another by the two cards' published numbers.
#pragma once

#include "models/hardware/gpu.hpp"

namespace tessera {

// Times of serial latency scale with the clock, launches with the graph gap, memory latencies with the
// DRAM's, on-chip rates with the published L2 bandwidth, link rates with the links. `card` still names
// `from`.
KernelBehaviour rescaled(const KernelBehaviour& behaviour, const Gpu& from, const Gpu& to);

}  // namespace tessera
