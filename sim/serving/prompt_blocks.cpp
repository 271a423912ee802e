#include "sim/serving/prompt_blocks.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/memory/block_hash.hpp"

namespace tessera {

PromptBlocks::PromptBlocks(const PromptSharing& sharing) : sharing_(sharing), usable_(sharing.known()) {
  const std::int64_t trace = sharing.trace_tokens, engine = sharing.engine_tokens;
  if (trace > 0 && trace % engine != 0 && engine % trace != 0) {
    usable_ = false;
    problem_ = fmt::format(
        "prefix sharing is left out: the trace names blocks of {} tokens, the engine caches blocks of {}, "
        "and neither divides the other",
        trace, engine);
  }
}

BlockHash PromptBlocks::root(const Request& request) const {
  if (sharing_.salt == CacheSalt::tenant && request.tenant != 0)
    return chain_hash(~kChainRoot, request.tenant);
  if (sharing_.salt == CacheSalt::session && request.session != kNoSession)
    return chain_hash(~kChainRoot, (std::uint64_t{1} << 32U) + request.session);
  return kChainRoot;
}

std::span<const std::uint64_t> PromptBlocks::hashes(const Request& request) {
  if (!usable_) return {};
  hashes_.clear();
  if (sharing_.trace_tokens > 0)
    name_trace_blocks(request);
  else
    name_shared_prefix(request);
  return hashes_;
}

void PromptBlocks::name_trace_blocks(const Request& request) {
  const std::int64_t trace = sharing_.trace_tokens, engine = sharing_.engine_tokens;
  const auto full = static_cast<std::size_t>(request.input_tokens / engine);
  BlockHash parent = root(request);
  if (trace >= engine) {
    const auto pieces = static_cast<std::uint64_t>(trace / engine);
    for (std::size_t i = 0; i < request.blocks.size() && hashes_.size() < full; ++i)
      for (std::uint64_t piece = 0; piece < pieces && hashes_.size() < full; ++piece) {
        parent =
            chain_hash(parent, piece == 0 ? request.blocks[i] : piece);  // its parent says of which block
        hashes_.push_back(parent);
      }
    return;
  }
  const auto run = static_cast<std::size_t>(engine / trace);
  for (std::size_t i = 0; i + run <= request.blocks.size() && hashes_.size() < full; i += run) {
    for (std::size_t j = i; j < i + run; ++j) parent = chain_hash(parent, request.blocks[j]);
    hashes_.push_back(parent);
  }
}

void PromptBlocks::name_shared_prefix(const Request& request) {
  const std::int64_t tokens = std::min<std::int64_t>(sharing_.shared_prefix_tokens, request.input_tokens);
  BlockHash parent = chain_hash(root(request), request.prompt_class);
  for (std::int64_t i = 0; i < tokens / sharing_.engine_tokens; ++i) {
    parent = chain_hash(parent, static_cast<std::uint64_t>(i));
    hashes_.push_back(parent);
  }
}

}  // namespace tessera
