// Paged KV: block tables over a pool, blocks taken as tokens come, full prompt blocks shared by hash. As vLLM
// v1 keeps them: prefix hits cover full blocks only and never the last token, blocks are findable from the
// moment they are scheduled, freed requests give back their tail first, and what a preempted request held is
// found again while nobody else was given it.
#pragma once

#include <limits>
#include <vector>

#include "sim/memory/block_pool.hpp"
#include "sim/memory/content_copies.hpp"
#include "sim/serving/kv_memory.hpp"

namespace tessera {

class PagedKv final : public KvMemory {
 public:
  explicit PagedKv(const KvMemorySpec& spec);

  [[nodiscard]] std::string refusal(std::int64_t input, std::int64_t output) const override;
  void arrive(Slot slot, std::int64_t input, std::int64_t output,
              std::span<const std::uint64_t> hashes) override;
  std::optional<std::int64_t> admit(Slot slot, std::int64_t target, std::int64_t budget) override;
  bool extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) override;
  [[nodiscard]] std::span<const std::uint64_t> prompt_hashes(Slot slot) const override {
    return tables_[slot].hashes;
  }
  bool hold(Slot slot, std::int64_t after, std::int64_t target) override;
  std::vector<std::uint64_t>* drops() override { return spec_.keep_drops ? &drops_ : nullptr; }
  [[nodiscard]] std::size_t cached_blocks(Slot slot) const override;
  [[nodiscard]] std::size_t room_to_grow() const override { return pool_.free_blocks(); }
  void grow(std::span<const Slot> slots) override;
  void leave(Slot slot, std::int64_t computed, bool comes_back) override;
  [[nodiscard]] KvUse use(std::int64_t resident, bool waits) const override;
  [[nodiscard]] std::int64_t evictions() const override { return pool_.evictions(); }
  [[nodiscard]] bool empty() const override { return pool_.live_blocks() == 0; }
  [[nodiscard]] std::int64_t common_tokens(Slot slot, std::int64_t users) const override;
  [[nodiscard]] std::size_t map_cells() const override { return pool_.usable_blocks(); }
  void show(std::span<BlockCell> cells) const override;
  [[nodiscard]] const BlockPool& pool() const { return pool_; }

 private:
  struct SavedBlock {
    BlockId id;
    std::uint32_t generation;
  };
  struct Table {
    std::vector<BlockId> blocks;
    std::vector<std::uint64_t> hashes;  // of full prompt blocks
    std::vector<SavedBlock> saved;      // full blocks held when preempted
    std::int64_t held = 0;              // slots taken by hold and not yet passed by extend
    std::int64_t held_to = 0;
  };

  // Full blocks at the head of the request's `target` tokens that are in the pool, into hit_; how many of
  // them stand in the free queue.
  std::int64_t find_prefix(const Table& table, std::int64_t target);
  bool take(Table& table, std::int64_t want);
  void fill_held(Table& table, std::int64_t before, std::int64_t after);
  [[nodiscard]] std::int64_t blocks_for(std::int64_t tokens) const;

  KvMemorySpec spec_;
  BlockPool pool_;
  std::int64_t least_free_ = 0;  // that admission leaves
  bool counts_copies_;           // of prompts, where nothing is shared
  ContentCopies copies_;
  std::vector<Table> tables_;
  std::vector<std::vector<BlockId>> spare_;  // the room of tables given back, most recent last
  std::vector<BlockId> hit_, fresh_;
  std::int64_t held_slots_ = 0;
  Slot partial_ = std::numeric_limits<Slot>::max();  // whose blocks are allocated ahead of its prompt
  std::int64_t ahead_ = 0;                           // slots of those
  std::int64_t held_ = 0;                            // of all tables
  std::vector<std::uint64_t> drops_;
};

}  // namespace tessera
