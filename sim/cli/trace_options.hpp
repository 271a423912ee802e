// `tessera trace stats|generate|convert`: options and wiring; the work is in traces/commands.hpp.
#pragma once

#include <optional>
#include <string>

#include "traces/commands.hpp"
#include "traces/zipf.hpp"

namespace CLI {
class App;
}

namespace tessera {

struct TraceOptions {
  TraceStatsOptions stats;
  TraceGenerateOptions generate;
  TraceConvertOptions convert;
  std::string arrivals = "poisson";
  std::string lengths_from;
  std::string convert_arrivals;  // empty: the trace has arrival times
  ArrivalSpec convert_rate;
  LengthSpec convert_lengths;
  ZipfSpec zipf;
  std::string zipf_output;
};

void add_trace_commands(CLI::App& app, TraceOptions& options, int& code);

}  // namespace tessera
