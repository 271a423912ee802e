// Contiguous KV over mapped memory, as vAttention does it with CUDA's virtual memory calls (arXiv
// 2405.04437): a request has addresses for the longest context there can be, and memory is mapped behind them
// as tokens come. K and V of every layer (or of all layers in one) are tensors of their own and all grow by
// pages, so a request holds whole rows of one page in each tensor:
//   rows(n) = ceil(n x token_bytes / page_bytes),  bytes = rows x tensors x page_bytes
// Unlike a block a page may end inside a token, as the next one continues it. Waste is the last row's rest;
// attention kernels need no block table, and nothing is shared.
//
// Mapping a page costs a call. What decodes will need next is mapped while the step before runs (map_ahead);
// what a prompt needs, when it is scheduled. A request that ends leaves its rows mapped (defer_free): the
// next one takes over the idle region that fits its prompt best, and only rows wanted elsewhere are unmapped:
// from the region idle longest, then from requests that took over more than they need yet. Left out: the
// first creation of physical pages (done at start-up), TLB reach.
#pragma once

#include <utility>
#include <vector>

#include "sim/memory/content_copies.hpp"
#include "sim/serving/kv_memory.hpp"

namespace tessera {

class MappedKv final : public KvMemory {
 public:
  // kv_blocks: rows there are; block_tokens: tokens a decode is given room for at a time.
  explicit MappedKv(const KvMemorySpec& spec);

  [[nodiscard]] std::string refusal(std::int64_t input, std::int64_t output) const override;
  void arrive(Slot slot, std::int64_t input, std::int64_t output,
              std::span<const std::uint64_t> hashes) override;
  std::optional<std::int64_t> admit(Slot slot, std::int64_t target, std::int64_t budget) override;
  bool extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) override;
  [[nodiscard]] std::size_t room_to_grow() const override {
    return static_cast<std::size_t>(available() / rows_per_growth_);
  }
  void grow(std::span<const Slot> slots) override;
  void leave(Slot slot, std::int64_t computed, bool comes_back) override;
  [[nodiscard]] KvUse use(std::int64_t resident, bool waits) const override;
  MapWork take_map_work() override { return std::exchange(work_, {}); }
  [[nodiscard]] std::int64_t mapped_pages() const override { return mapped_rows_ * spec_.vmm.tensors; }
  [[nodiscard]] bool empty() const override { return in_use_ == 0; }
  [[nodiscard]] std::size_t map_cells() const override { return static_cast<std::size_t>(spec_.kv_blocks); }
  void show(std::span<BlockCell> cells) const override;

  [[nodiscard]] std::int64_t rows_of(Slot slot) const { return tables_[slot].rows; }
  [[nodiscard]] std::int64_t idle_rows() const { return idle_total_; }
  // Walks everything and checks that every row is in use, idle or unmapped.
  void audit() const;

 private:
  struct Table {
    std::int64_t rows = 0;     // mapped behind its addresses
    std::int64_t needed = 0;   // of those, for what it was given room for
    std::int64_t covered = 0;  // tokens it was given room for
    std::int64_t last = 0;     // tokens stored at its end
  };
  // Rows no running request needs.
  [[nodiscard]] std::int64_t available() const { return spec_.kv_blocks - needed_; }
  [[nodiscard]] std::int64_t rows_for(std::int64_t tokens) const;
  [[nodiscard]] std::int64_t slots_in(std::int64_t rows) const;
  [[nodiscard]] std::int64_t in_steps(std::int64_t tokens) const;
  std::int64_t take_idle(std::int64_t wanted);
  void need(Table& table, std::int64_t rows, std::int64_t& time_ps);
  std::int64_t unmap(std::int64_t rows);
  void set_rows(Table& table, std::int64_t rows);
  void set_needed(Table& table, std::int64_t rows);

  KvMemorySpec spec_;
  std::int64_t rows_per_growth_;
  std::int64_t least_free_ = 0;
  std::vector<Table> tables_;
  std::vector<std::int64_t> idle_;  // rows of regions whose request has left, idle longest first
  std::int64_t idle_total_ = 0;
  std::int64_t in_use_ = 0;       // rows of running requests
  std::int64_t needed_ = 0;       // of those, that they need so far
  std::int64_t held_slots_ = 0;   // token slots in those
  std::int64_t will_hold_ = 0;    // of those, that hold a token at the end of their request
  std::int64_t mapped_rows_ = 0;  // calls so far, a row at a time
  MapWork work_;
  ContentCopies copies_;
};

}  // namespace tessera
