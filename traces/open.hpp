// Opens a trace of any format for reading in time order, the first request at 0.
//
// Opening checks the whole file, so every broken row is reported before a simulation starts, and
// info() is complete at once. A trace that fits options.hold_bytes decoded is then handed out of
// memory. A longer one in time order is streamed in a second pass with no memory per row; a longer one
// out of order is held and sorted (stable), with a note.
#pragma once

#include <memory>
#include <string>

#include "traces/byte_stream.hpp"
#include "traces/options.hpp"
#include "traces/request.hpp"

namespace tessera {

std::unique_ptr<TraceReader> open_trace(const Source& source, const ReadOptions& options = {});
std::unique_ptr<TraceReader> open_trace(const std::string& path, const ReadOptions& options = {});

}  // namespace tessera
