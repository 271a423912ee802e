// The event queue the simulator uses, by name, so that another can be put in its place.
//
// tests/bench/queue_bench.cpp holds the comparison that chose it. With delays of GPU clocks the wheel
// is the fastest at 64 and 4096 pending events (1.4 and 1.5 times a radix heap, 2 and 6 times
// std::priority_queue). A radix heap is twice as fast where 262144 events all differ in time, and
// std::priority_queue about twice as fast for up to a thousand events milliseconds apart, which all pass the
// far heap.
#pragma once

#include "sim/engine/timing_wheel.hpp"

namespace tessera::sim {

using EventQueue = TimingWheel;

}  // namespace tessera::sim
