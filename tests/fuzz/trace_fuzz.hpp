// What every fuzz target of a trace reader does: open the bytes, read at most some thousand requests,
// and check what a reader promises of each.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "models/base/error.hpp"
#include "tests/fuzz/promise.hpp"
#include "traces/open.hpp"

namespace tessera {

inline int fuzz_requests(const char* format, const std::uint8_t* data, std::size_t size) {
  ReadOptions options;
  options.format = format;
  options.limit = 5'000;
  options.lengths = LengthSpec{"fixed:100", "fixed:10", ""};
  options.need_arrivals = false;
  // The first byte chooses between held and streamed rows, so both paths are walked.
  if (size > 0 && (data[0] & 1) != 0) options.hold_bytes = 200;
  try {
    const auto trace =
        open_trace(Source{"fuzz", std::string_view(reinterpret_cast<const char*>(data), size)}, options);
    Request request;
    std::int64_t before = 0;
    std::int64_t count = 0;
    while (trace->next(request)) {
      promise(request.arrival_ps >= before && request.arrival_ps <= kMaxSpanPs);
      promise(request.input_tokens >= 1 && request.input_tokens <= kMaxTokens);
      promise(request.output_tokens >= 1 && request.output_tokens <= kMaxTokens);
      promise(count > 0 || request.arrival_ps == 0);
      before = request.arrival_ps;
      ++count;
    }
    promise(count > 0 && (trace->info().requests == count || trace->info().requests == -1));
  } catch (const InputError& error) {
    promise(std::string_view(error.what()).size() > 10);
  }
  return 0;
}

}  // namespace tessera
