#include "sim/serving/prompt_blocks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/memory/block_hash.hpp"

namespace tessera {

PromptBlocks::PromptBlocks(std::int64_t trace_tokens, std::int64_t engine_tokens, bool wanted)
    : trace_tokens_(trace_tokens), engine_tokens_(engine_tokens), usable_(wanted && trace_tokens > 0) {
  if (usable_ && trace_tokens % engine_tokens != 0 && engine_tokens % trace_tokens != 0) {
    usable_ = false;
    problem_ = fmt::format(
        "prefix sharing is left out: the trace names blocks of {} tokens, the engine caches blocks of {}, "
        "and "
        "neither divides the other",
        trace_tokens, engine_tokens);
  }
}

std::span<const std::uint64_t> PromptBlocks::hashes(const Request& request) {
  if (!usable_ || request.blocks.empty()) return {};
  hashes_.clear();
  const auto full = static_cast<std::size_t>(request.input_tokens / engine_tokens_);
  BlockHash parent = kChainRoot;
  if (trace_tokens_ >= engine_tokens_) {
    const auto pieces = static_cast<std::uint64_t>(trace_tokens_ / engine_tokens_);
    for (std::size_t i = 0; i < request.blocks.size() && hashes_.size() < full; ++i)
      for (std::uint64_t piece = 0; piece < pieces && hashes_.size() < full; ++piece) {
        parent = chain_hash(parent, request.blocks[i] * pieces + piece);
        hashes_.push_back(parent);
      }
  } else {
    const auto run = static_cast<std::size_t>(engine_tokens_ / trace_tokens_);
    for (std::size_t i = 0; i + run <= request.blocks.size() && hashes_.size() < full; i += run) {
      for (std::size_t j = i; j < i + run; ++j) parent = chain_hash(parent, request.blocks[j]);
      hashes_.push_back(parent);
    }
  }
  return hashes_;
}

}  // namespace tessera
