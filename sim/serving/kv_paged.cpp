#include "sim/serving/kv_paged.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {

PagedKv::PagedKv(const KvMemorySpec& spec)
    : spec_(spec),
      pool_(static_cast<std::uint32_t>(spec.kv_blocks),
            {.prefix_caching = spec.prefix_cache && spec.hashed_prompts}),
      least_free_(static_cast<std::int64_t>(spec.watermark * static_cast<double>(spec.kv_blocks))),
      counts_copies_(spec.hashed_prompts && !spec.prefix_cache) {
  if (spec.keep_drops) pool_.log_drops(&drops_);
}

std::int64_t PagedKv::blocks_for(std::int64_t tokens) const { return ceil_div(tokens, spec_.block_tokens); }

std::string PagedKv::refusal(std::int64_t input, std::int64_t output) const {
  const std::int64_t most = input + output - 1;  // the last token is never stored
  return blocks_for(most) > spec_.kv_blocks - least_free_ ? "needs more KV blocks than the engine has" : "";
}

void PagedKv::arrive(Slot slot, std::int64_t, std::int64_t, std::span<const std::uint64_t> hashes) {
  if (slot >= tables_.size()) tables_.resize(slot + 1);
  tables_[slot].hashes.assign(hashes.begin(), hashes.end());
  tables_[slot].saved.clear();
  if (counts_copies_) copies_.arrive(slot, hashes);
}

std::int64_t PagedKv::find_prefix(const Table& table, std::int64_t target) {
  hit_.clear();
  if (!spec_.prefix_cache) return 0;
  const auto limit = static_cast<std::size_t>((target - 1) / spec_.block_tokens);
  std::int64_t in_free_queue = 0;
  for (std::size_t i = 0; i < limit; ++i) {
    BlockId id = kNoBlock;
    if (i < table.saved.size() && pool_.generation(table.saved[i].id) == table.saved[i].generation) {
      id = table.saved[i].id;
    } else if (i < table.hashes.size()) {
      id = pool_.lookup(table.hashes[i]);
    }
    if (id == kNoBlock) break;
    hit_.push_back(id);
    if (pool_.references(id) == 0) ++in_free_queue;
  }
  return in_free_queue;
}

std::optional<std::int64_t> PagedKv::admit(Slot slot, std::int64_t target, std::int64_t budget) {
  Table& table = tables_[slot];
  const std::int64_t in_free_queue = find_prefix(table, target);
  const auto hits = static_cast<std::int64_t>(hit_.size());
  const std::int64_t cached = hits * spec_.block_tokens;
  const bool whole = spec_.reserve_full_prompt || spec_.allocate_full_prompt;
  const std::int64_t known = whole ? target : cached + std::min(target - cached, budget);
  if (blocks_for(known) - hits + in_free_queue > static_cast<std::int64_t>(pool_.free_blocks()) - least_free_)
    return std::nullopt;
  if (!spare_.empty()) {
    table.blocks.swap(spare_.back());
    spare_.pop_back();
  }
  for (const BlockId id : hit_) pool_.touch(id);
  table.blocks.assign(hit_.begin(), hit_.end());
  table.saved.clear();
  held_slots_ += cached;
  return cached;
}

// Makes the table `want` blocks long.
bool PagedKv::take(Table& table, std::int64_t want) {
  const auto have = static_cast<std::int64_t>(table.blocks.size());
  if (want <= have) return true;
  if (want - have > static_cast<std::int64_t>(pool_.free_blocks())) return false;
  table.blocks.resize(static_cast<std::size_t>(want));
  pool_.allocate_n(std::span(table.blocks).subspan(static_cast<std::size_t>(have)));
  held_slots_ += (want - have) * spec_.block_tokens;
  return true;
}

bool PagedKv::hold(Slot slot, std::int64_t after, std::int64_t target) {
  Table& table = tables_[slot];
  const auto have = static_cast<std::int64_t>(table.blocks.size());
  if (!take(table, blocks_for(spec_.allocate_full_prompt ? target : after))) return false;
  table.held = (static_cast<std::int64_t>(table.blocks.size()) - have) * spec_.block_tokens;
  table.held_to = after;
  held_ += table.held;
  return true;
}

void PagedKv::fill_held(Table& table, std::int64_t before, std::int64_t after) {
  const std::int64_t filled = after >= table.held_to ? table.held : std::min(table.held, after - before);
  table.held -= filled;
  held_ -= filled;
}

std::size_t PagedKv::cached_blocks(Slot slot) const {
  const Table& table = tables_[slot];
  std::size_t blocks = 0;
  while (blocks < table.hashes.size() && pool_.lookup(table.hashes[blocks]) != kNoBlock) ++blocks;
  return blocks;
}

bool PagedKv::extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) {
  Table& table = tables_[slot];
  const std::int64_t want = blocks_for(spec_.allocate_full_prompt ? target : after);
  if (!take(table, want)) return false;
  if (table.held > 0) fill_held(table, before, after);
  partial_ = slot;
  ahead_ = after == target || table.held > 0 ? 0 : (want - blocks_for(after)) * spec_.block_tokens;
  if (counts_copies_) copies_.hold(slot, after / spec_.block_tokens);
  if (!spec_.prefix_cache || table.hashes.empty()) return true;
  const auto full = std::min(static_cast<std::size_t>(after / spec_.block_tokens), table.hashes.size());
  for (auto i = static_cast<std::size_t>(before / spec_.block_tokens); i < full; ++i)
    pool_.publish(table.blocks[i], table.hashes[i]);
  return true;
}

void PagedKv::grow(std::span<const Slot> slots) {
  fresh_.resize(slots.size());
  pool_.allocate_n(fresh_);
  for (std::size_t i = 0; i < slots.size(); ++i) tables_[slots[i]].blocks.push_back(fresh_[i]);
  held_slots_ += static_cast<std::int64_t>(slots.size()) * spec_.block_tokens;
}

void PagedKv::leave(Slot slot, std::int64_t computed, bool comes_back) {
  Table& table = tables_[slot];
  if (comes_back && spec_.prefix_cache) {
    const auto full = std::min(static_cast<std::size_t>(computed / spec_.block_tokens), table.blocks.size());
    for (std::size_t i = 0; i < full; ++i)
      table.saved.push_back({table.blocks[i], pool_.generation(table.blocks[i])});
  }
  if (counts_copies_) copies_.leave(slot);
  held_slots_ -= static_cast<std::int64_t>(table.blocks.size()) * spec_.block_tokens;
  held_ -= table.held;
  table.held = 0;
  pool_.free_tail_first(table.blocks);
  table.blocks.clear();
  spare_.emplace_back().swap(table.blocks);
  if (slot == partial_) ahead_ = 0;
}

KvUse PagedKv::use(std::int64_t resident, bool) const {
  KvUse use;
  use.used_blocks = pool_.live_blocks();
  use.held_slots = held_slots_;
  use.resident = resident;
  use.reserved = ahead_ + held_;
  use.duplicate = (pool_.duplicates() + copies_.duplicates()) * spec_.block_tokens;
  return use;
}

std::int64_t PagedKv::common_tokens(Slot slot, std::int64_t users) const {
  if (!pool_.prefix_caching()) return 0;
  std::int64_t blocks = 0;
  for (const BlockId block : tables_[slot].blocks) {
    if (pool_.references(block) < users) break;
    ++blocks;
  }
  return blocks * spec_.block_tokens;
}

void PagedKv::show(std::span<BlockCell> cells) const {
  pool_.show_free(cells);
  for (Slot slot = 0; slot < tables_.size(); ++slot) pool_.show_held(cells, tables_[slot].blocks, slot);
}

}  // namespace tessera
