// How to read a trace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "traces/arrivals.hpp"
#include "traces/lengths.hpp"

namespace tessera {

struct ReadOptions {
  std::string format = "auto";        // a name from trace_formats(), or auto: by content
  std::optional<std::int64_t> limit;  // only the first so many requests of the file
  double rate_scale = 1.0;            // 2: arrivals twice as dense

  // For traces without arrival times: draw them. Refused for traces that have their own.
  std::optional<ArrivalSpec> arrivals;
  // For client rates, which say nothing of lengths.
  std::optional<LengthSpec> lengths;
  std::uint64_t seed = 0;
  // False: a trace without arrival times is read with all arrivals at 0 (for statistics of its lengths).
  bool need_arrivals = true;

  // Rows are held decoded up to about this many bytes; a longer trace is passed over once to check it
  // and then streamed.
  std::size_t hold_bytes = std::size_t{32} << 20;
};

}  // namespace tessera
