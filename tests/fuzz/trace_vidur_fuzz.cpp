// Any bytes as a trace of format vidur: an InputError or a valid trace, nothing else.
#include "tests/fuzz/trace_fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return tessera::fuzz_requests("vidur", data, size);
}
