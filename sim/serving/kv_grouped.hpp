// Paged KV with block tables per group of layers over one pool (models/transformer/kv_pages.hpp), as vLLM's
// hybrid KV cache manager keeps it.
//
// Full groups keep every page. A window group gives back pages that its window has passed, sinks stay. A
// prefix hit of h tokens needs every page of the full groups up to h, but of window groups only the pages
// that the token at h attends to, and of a recurrent state the snapshot at h; h is a multiple of
// plan.hit_tokens and the longest such one is taken. Freed pages stay findable until their block is handed
// out again. What a window has passed joins the free queue behind everything else (vLLM) or, with
// reuse_passed, is the next to be overwritten: this sequence never reads it again, another only to branch off
// there. A decode is given pages for block_tokens tokens at a time. Admission counts on whole prompts in full
// groups (reserve_full_prompt) and on one chunk behind the window in the others. Left out: choosing the
// victim by group (one LRU for all, as in vLLM), hits inside a page.
#pragma once

#include <vector>

#include "models/transformer/kv_pages.hpp"
#include "sim/memory/block_pool.hpp"
#include "sim/memory/content_copies.hpp"
#include "sim/serving/kv_memory.hpp"

namespace tessera {

class GroupedKv final : public KvMemory {
 public:
  // `spec.plan` must be set.
  explicit GroupedKv(const KvMemorySpec& spec);

  [[nodiscard]] std::string refusal(std::int64_t input, std::int64_t output) const override;
  void arrive(Slot slot, std::int64_t input, std::int64_t output,
              std::span<const std::uint64_t> hashes) override;
  std::optional<std::int64_t> admit(Slot slot, std::int64_t target, std::int64_t budget) override;
  bool extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) override;
  [[nodiscard]] std::size_t room_to_grow() const override {
    return static_cast<std::size_t>(free_blocks() / blocks_per_page_);
  }
  void grow(std::span<const Slot> slots) override;
  [[nodiscard]] bool frees_while_decoding() const override { return true; }  // windows pass pages
  void leave(Slot slot, std::int64_t computed, bool comes_back) override;
  [[nodiscard]] KvUse use(std::int64_t resident, bool waits) const override;
  [[nodiscard]] std::int64_t evictions() const override { return pool_.evictions(); }
  [[nodiscard]] bool empty() const override { return pool_.live_blocks() == passed_count_; }
  [[nodiscard]] std::size_t map_cells() const override { return pool_.usable_blocks(); }
  void show(std::span<BlockCell> cells) const override;
  [[nodiscard]] const BlockPool& pool() const { return pool_; }
  // Blocks one request holds in one group.
  [[nodiscard]] std::int64_t blocks_of(Slot slot, std::size_t group) const;

 private:
  struct SavedBlock {
    BlockId id;
    std::uint32_t generation;
  };
  // Pages of one group: [0, sinks / tables) and [begin, begin + blocks / tables); each `tables` blocks.
  struct Run {
    std::int64_t begin = 0;
    std::vector<BlockId> blocks, sinks;
    std::int64_t saved_begin = 0;
    std::vector<SavedBlock> saved, saved_sinks;  // whole pages held when preempted
  };
  struct Table {
    std::vector<Run> runs;
    std::vector<std::uint64_t> hashes;  // of full prompt blocks of block_tokens
    std::int64_t covered = 0;           // tokens its pages have room for
  };

  [[nodiscard]] std::int64_t free_blocks() const {
    return static_cast<std::int64_t>(pool_.free_blocks()) + passed_count_;
  }
  [[nodiscard]] bool unused(BlockId block) const {
    return pool_.references(block) == 0 || (!is_passed_.empty() && is_passed_[block]);
  }
  void take_fresh(std::span<BlockId> out);
  void take_found(BlockId block);
  void let_pass(BlockId block);
  void drop_stale_passed();
  [[nodiscard]] std::int64_t pages_for(const KvPageGroup& group, std::int64_t tokens) const;
  [[nodiscard]] std::int64_t end_of(const KvPageGroup& group, const Run& run) const;
  [[nodiscard]] std::int64_t first_needed(const KvPageGroup& group, std::int64_t token) const;
  [[nodiscard]] std::int64_t kept_pages(const KvPageGroup& group, std::int64_t token) const;
  [[nodiscard]] BlockId find(const Table& table, std::size_t group, std::int64_t page, std::int64_t k) const;
  [[nodiscard]] bool page_found(const Table& table, std::size_t group, std::int64_t page) const;
  [[nodiscard]] std::int64_t find_prefix(const Table& table, std::int64_t target) const;
  void pass(std::size_t group, Run& run, std::int64_t token);
  void cover(Table& table, std::int64_t tokens);
  void account(const Table& table, std::int64_t sign);
  [[nodiscard]] std::int64_t most_blocks(std::int64_t tokens) const;

  KvMemorySpec spec_;
  const KvPagePlan& plan_;
  BlockPool pool_;
  std::int64_t blocks_per_page_;
  std::int64_t least_free_ = 0;
  bool counts_copies_ = false;
  ContentCopies copies_;           // where no prefix cache knows them
  double blocks_per_content_ = 0;  // of one prompt block, in groups that keep all
  bool findable_ = true;           // a group with a ring is never found again
  std::vector<Table> tables_;
  // With reuse_passed: blocks that windows have passed, still findable, overwritten before any other. They
  // count as free here, while the pool sees this object as their user.
  std::vector<BlockId> passed_;
  std::vector<bool> is_passed_;
  std::int64_t passed_count_ = 0;
  std::int64_t held_blocks_ = 0;   // per holder
  std::int64_t useful_bytes_ = 0;  // likewise, of covered tokens
  std::int64_t covered_tokens_ = 0;
  std::int64_t full_token_bytes_ = 0;  // of one token, in the groups that keep all
  double padding_bytes_ = 0;
};

}  // namespace tessera
