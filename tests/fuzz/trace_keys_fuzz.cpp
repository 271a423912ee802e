// Any bytes as cache keys, text or oracleGeneral: an InputError or accesses, nothing else.
#include "tests/fuzz/trace_fuzz.hpp"
#include "traces/key_trace.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  for (const char* format : {"auto", "keys", "oracle"}) {
    try {
      const auto keys =
          open_keys(Source{"fuzz", std::string_view(reinterpret_cast<const char*>(data), size)}, format);
      KeyAccess access;
      for (std::int64_t i = 0; keys->next(access); ++i)
        promise(access.next_access == kNeverAgain || access.next_access > i);
    } catch (const InputError& error) {
      promise(std::string_view(error.what()).size() > 10);
    }
  }
  return 0;
}
