// Paged KV whose prefix cache is a radix tree of prompts (sim/memory/radix_index.hpp), as in SGLang. A page
// is block_tokens tokens; one token a page shares prompts to the token, as far as the trace tells them apart.
//
// A request stands on the path of the prompt pages it found or has computed and holds the pages behind it by
// itself. Full prompt pages join the tree when they are scheduled; if another put the same ones there
// meanwhile, the request's are given back. At its end all its full pages join, its answer too, under names of
// its own: nobody else finds them, but they leave in their turn, and a preempted request finds them again.
// The last, partly filled page is free at once. As with hashes, a hit never covers the last token.
#pragma once

#include <vector>

#include "sim/memory/radix_index.hpp"
#include "sim/serving/kv_memory.hpp"

namespace tessera {

class RadixKv final : public KvMemory {
 public:
  explicit RadixKv(const KvMemorySpec& spec);

  [[nodiscard]] std::string refusal(std::int64_t input, std::int64_t output) const override;
  void arrive(Slot slot, std::int64_t input, std::int64_t output,
              std::span<const std::uint64_t> hashes) override;
  std::optional<std::int64_t> admit(Slot slot, std::int64_t target, std::int64_t budget) override;
  bool extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) override;
  [[nodiscard]] std::size_t room_to_grow() const override { return free_pages(); }
  void grow(std::span<const Slot> slots) override;
  void leave(Slot slot, std::int64_t computed, bool comes_back) override;
  [[nodiscard]] KvUse use(std::int64_t resident, bool waits) const override;
  [[nodiscard]] std::int64_t evictions() const override { return evictions_; }
  [[nodiscard]] bool empty() const override {
    return free_pages() == static_cast<std::size_t>(spec_.kv_blocks);
  }
  [[nodiscard]] std::int64_t common_tokens(Slot slot, std::int64_t users) const override;
  [[nodiscard]] std::size_t map_cells() const override { return static_cast<std::size_t>(spec_.kv_blocks); }
  void show(std::span<BlockCell> cells) const override;
  // Walks everything and checks that every page is somewhere, once.
  void audit() const;

 private:
  struct Table {
    std::vector<BlockHash> keys;  // of full prompt pages; further ones are named when needed
    std::size_t named = 0;        // of keys: by the trace
    std::uint32_t number = 0;
    bool was_here = false;  // preempted before
    RadixIndex::NodeId at = RadixIndex::kRoot;
    std::vector<BlockId> own;  // pages behind the place in the tree
  };
  // Pages that can be given out: free ones and what nobody uses of the tree.
  [[nodiscard]] std::size_t free_pages() const { return free_.size() + index_.evictable(); }
  [[nodiscard]] std::int64_t pages_for(std::int64_t tokens) const;
  [[nodiscard]] std::int64_t pages_of(const Table& table) const {
    return static_cast<std::int64_t>(index_.depth(table.at) + table.own.size());
  }
  void name_pages(Table& table, std::size_t pages);
  void take(Table& table, std::size_t pages);
  void join_tree(Table& table, std::size_t pages);

  KvMemorySpec spec_;
  RadixIndex index_;
  std::vector<BlockId> free_;
  std::vector<std::uint32_t> generations_;  // how often each was given out
  std::vector<Table> tables_;
  std::int64_t least_free_ = 0;
  std::int64_t evictions_ = 0;
  std::int64_t held_pages_ = 0;  // per holder
  std::uint32_t arrivals_ = 0;
  Slot partial_ = ~Slot{0};  // whose pages are allocated ahead of its prompt
  std::int64_t ahead_ = 0;   // slots of those
};

}  // namespace tessera
