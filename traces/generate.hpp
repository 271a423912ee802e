// Draws a request trace: arrivals (arrivals.hpp), lengths (lengths.hpp) and, if asked for, classes of
// requests that share a prompt prefix.
//
// Stratified lengths: of n requests each takes its own n-th of the distribution, in random order, so
// even a short trace has the stated mean and quantiles. (Plain draws of 600 requests miss a mean by 4 %
// or so.) Shared prefixes: a request belongs to a class with equal chance; its leading blocks, up to
// prefix_tokens, are the class's, the others its own. Only whole blocks get an id.
// Leaves out: correlation of arrivals and lengths, turns of a conversation, drift over the day.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "traces/arrivals.hpp"
#include "traces/lengths.hpp"
#include "traces/request.hpp"

namespace tessera {

struct GenerateSpec {
  ArrivalSpec arrivals;
  LengthSpec lengths;
  std::optional<std::int64_t> requests;  // how many, or ...
  std::optional<double> duration_s;      // ... until when; both: whichever ends first
  bool stratified = false;               // needs `requests`
  std::uint64_t seed = 0;
  int classes = 0;  // 0: no shared prefixes, no block ids
  std::int32_t prefix_tokens = 0;
  int block_tokens = 16;
};

// Throws InputError if the spec contradicts itself.
std::unique_ptr<TraceReader> generate_trace(const GenerateSpec& spec);

// The command line that draws the same trace again.
std::string command_line(const GenerateSpec& spec);

}  // namespace tessera
