// The event queue the simulator uses, by name, so that another can be put in its place.
// tests/bench/queue_bench.cpp holds the comparison that chose it.
#pragma once

#include "sim/engine/timing_wheel.hpp"

namespace tessera::sim {

using EventQueue = TimingWheel;

}  // namespace tessera::sim
