// The identities of the engine's blocks in a prompt, from what the trace says or the run assumes of it.
//
// A trace names its prompt in blocks of N tokens, the engine caches blocks of B: if B divides N each trace
// block becomes N / B engine blocks, if N divides B a run of B / N trace blocks becomes one; otherwise
// sharing is left out and problem() says so. Where a trace names nothing, the first shared_prefix_tokens of a
// prompt may be taken as the system prompt of its class. Only blocks the prompt fills are named.
//
// Salt: requests of different tenants (or sessions) get different identities for the same content and so
// never share, as with a cache salt in vLLM.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "traces/request.hpp"

namespace tessera {

enum class CacheSalt : std::uint8_t { none, tenant, session };

struct PromptSharing {
  std::int64_t trace_tokens = 0;  // of a trace block; 0: the trace names none
  std::int64_t engine_tokens = 16;
  std::int64_t shared_prefix_tokens = 0;
  CacheSalt salt = CacheSalt::none;
  [[nodiscard]] bool known() const { return trace_tokens > 0 || shared_prefix_tokens > 0; }
};

class PromptBlocks {
 public:
  explicit PromptBlocks(const PromptSharing& sharing);
  // Valid until the next call.
  std::span<const std::uint64_t> hashes(const Request& request);
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  [[nodiscard]] std::uint64_t root(const Request& request) const;
  void name_trace_blocks(const Request& request);
  void name_shared_prefix(const Request& request);

  PromptSharing sharing_;
  bool usable_;
  std::string problem_;
  std::vector<std::uint64_t> hashes_;
};

}  // namespace tessera
