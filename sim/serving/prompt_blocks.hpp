// Turns the block identities of a trace into those of the engine's blocks.
//
// A trace names its prompt in blocks of N tokens, the engine caches blocks of B: if B divides N each trace
// block becomes N / B engine blocks, if N divides B a run of B / N trace blocks becomes one; otherwise
// sharing is left out and problem() says so. Only blocks the prompt fills are named.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "traces/request.hpp"

namespace tessera {

class PromptBlocks {
 public:
  PromptBlocks(std::int64_t trace_tokens, std::int64_t engine_tokens, bool wanted);
  // Valid until the next call.
  std::span<const std::uint64_t> hashes(const Request& request);
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  std::int64_t trace_tokens_, engine_tokens_;
  bool usable_;
  std::string problem_;
  std::vector<std::uint64_t> hashes_;
};

}  // namespace tessera
