// How often the same full prompt block is held where nothing is shared: contiguous regions, mapped memory,
// paging without a prefix cache. Counts per content; a copy beyond the first of a content is a duplicate.
#pragma once

#include <tsl/robin_map.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

class ContentCopies {
 public:
  using Slot = std::uint32_t;

  void arrive(Slot slot, std::span<const std::uint64_t> hashes) {
    if (hashes.empty() && slot >= prompts_.size()) return;
    if (slot >= prompts_.size()) prompts_.resize(slot + 1);
    prompts_[slot].hashes.assign(hashes.begin(), hashes.end());
    prompts_[slot].held = 0;
  }
  // The request holds its first `blocks` full blocks.
  void hold(Slot slot, std::int64_t blocks) {
    if (slot >= prompts_.size()) return;
    Prompt& prompt = prompts_[slot];
    const std::size_t to = std::min(static_cast<std::size_t>(blocks), prompt.hashes.size());
    for (; prompt.held < to; ++prompt.held)
      if (++copies_[prompt.hashes[prompt.held]] > 1) ++duplicates_;
  }
  void leave(Slot slot) {
    if (slot >= prompts_.size()) return;
    Prompt& prompt = prompts_[slot];
    for (; prompt.held > 0; --prompt.held) {
      const auto at = copies_.find(prompt.hashes[prompt.held - 1]);
      if (--at.value() > 0)
        --duplicates_;
      else
        copies_.erase(at);
    }
  }
  [[nodiscard]] std::int64_t duplicates() const { return duplicates_; }

 private:
  struct Prompt {
    std::vector<std::uint64_t> hashes;
    std::size_t held = 0;
  };
  std::vector<Prompt> prompts_;
  tsl::robin_map<std::uint64_t, std::uint32_t> copies_;
  std::int64_t duplicates_ = 0;
};

}  // namespace tessera
