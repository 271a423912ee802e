#include "sim/serving/kv_radix.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {

RadixKv::RadixKv(const KvMemorySpec& spec)
    : spec_(spec),
      generations_(static_cast<std::size_t>(spec.kv_blocks)),
      least_free_(static_cast<std::int64_t>(spec.watermark * static_cast<double>(spec.kv_blocks))) {
  TESSERA_CHECK(spec.kv_blocks > 0, "a memory has pages");
  for (auto id = static_cast<BlockId>(spec.kv_blocks); id-- > 0;) free_.push_back(id);  // 0 comes first
}

std::int64_t RadixKv::pages_for(std::int64_t tokens) const { return ceil_div(tokens, spec_.block_tokens); }

std::string RadixKv::refusal(std::int64_t input, std::int64_t output) const {
  const std::int64_t most = input + output - 1;  // the last token is never stored
  return pages_for(most) > spec_.kv_blocks - least_free_ ? "needs more KV blocks than the engine has" : "";
}

void RadixKv::arrive(Slot slot, std::int64_t, std::int64_t, std::span<const std::uint64_t> hashes) {
  if (slot >= tables_.size()) tables_.resize(slot + 1);
  Table& table = tables_[slot];
  table.keys.assign(hashes.begin(), hashes.end());
  table.named = hashes.size();
  table.number = arrivals_++;
  table.was_here = false;
}

// Names for the pages the trace does not name: nobody else has them.
void RadixKv::name_pages(Table& table, std::size_t pages) {
  while (table.keys.size() < pages)
    table.keys.push_back(unique_hash(table.number, static_cast<std::uint32_t>(table.keys.size())));
}

std::optional<std::int64_t> RadixKv::admit(Slot slot, std::int64_t target, std::int64_t budget) {
  Table& table = tables_[slot];
  std::size_t limit = static_cast<std::size_t>((target - 1) / spec_.block_tokens);
  if (!table.was_here) limit = std::min(limit, table.named);
  name_pages(table, limit);
  const auto keys = std::span<const BlockHash>(table.keys).first(limit);
  const RadixIndex::Match found = index_.match(keys);
  const auto hits = static_cast<std::int64_t>(found.pages);
  const std::int64_t cached = hits * spec_.block_tokens;
  const bool whole = spec_.reserve_full_prompt || spec_.allocate_full_prompt;
  const std::int64_t known = whole ? target : cached + std::min(target - cached, budget);
  if (pages_for(known) - hits + static_cast<std::int64_t>(found.unlocked) >
      static_cast<std::int64_t>(free_pages()) - least_free_)
    return std::nullopt;
  table.at = index_.lock(keys.first(found.pages));
  held_pages_ += hits;
  return cached;
}

void RadixKv::take(Table& table, std::size_t pages) {
  if (free_.size() < pages) {
    const std::size_t lacking = pages - free_.size();
    evictions_ += static_cast<std::int64_t>(lacking);
    index_.evict(lacking, free_);
  }
  for (; pages > 0; --pages) {
    ++generations_[free_.back()];
    table.own.push_back(free_.back());
    free_.pop_back();
  }
}

// The first `pages` of the request's own pages become the tree's.
void RadixKv::join_tree(Table& table, std::size_t pages) {
  const std::size_t depth = index_.depth(table.at);
  name_pages(table, depth + pages);
  std::size_t given_back = 0;
  table.at = index_.extend(table.at, std::span<const BlockHash>(table.keys).subspan(depth, pages),
                           std::span<const BlockId>(table.own).first(pages), given_back);
  free_.insert(free_.end(), table.own.begin(), table.own.begin() + static_cast<std::ptrdiff_t>(given_back));
  table.own.erase(table.own.begin(), table.own.begin() + static_cast<std::ptrdiff_t>(pages));
}

bool RadixKv::extend(Slot slot, std::int64_t, std::int64_t after, std::int64_t target) {
  Table& table = tables_[slot];
  const std::int64_t want = pages_for(spec_.allocate_full_prompt ? target : after);
  const std::int64_t more = std::max<std::int64_t>(0, want - pages_of(table));
  if (more > static_cast<std::int64_t>(free_pages())) return false;
  take(table, static_cast<std::size_t>(more));
  held_pages_ += more;
  partial_ = slot;
  ahead_ = after == target ? 0 : (want - pages_for(after)) * spec_.block_tokens;
  const std::size_t depth = index_.depth(table.at);
  const std::size_t full = std::min(static_cast<std::size_t>(after / spec_.block_tokens), table.named);
  if (full > depth) join_tree(table, full - depth);
  return true;
}

void RadixKv::grow(std::span<const Slot> slots) {
  for (const Slot slot : slots) take(tables_[slot], 1);
  held_pages_ += static_cast<std::int64_t>(slots.size());
}

void RadixKv::leave(Slot slot, std::int64_t computed, bool comes_back) {
  Table& table = tables_[slot];
  held_pages_ -= pages_of(table);
  const std::size_t depth = index_.depth(table.at);
  const auto full = static_cast<std::size_t>(computed / spec_.block_tokens);
  if (full > depth) join_tree(table, std::min(full - depth, table.own.size()));
  free_.insert(free_.end(), table.own.rbegin(), table.own.rend());
  table.own.clear();
  index_.unlock(table.at);
  table.at = RadixIndex::kRoot;
  table.was_here = comes_back;
  if (!comes_back) table.keys.clear();
  if (slot == partial_) ahead_ = 0;
}

KvUse RadixKv::use(std::int64_t resident, bool) const {
  KvUse use;
  use.used_blocks = spec_.kv_blocks - static_cast<std::int64_t>(free_pages());
  use.held_slots = held_pages_ * spec_.block_tokens;
  use.resident = resident;
  use.reserved = ahead_;
  return use;
}

std::int64_t RadixKv::common_tokens(Slot slot, std::int64_t users) const {
  RadixIndex::NodeId at = tables_[slot].at;
  while (at != RadixIndex::kRoot && index_.locks(at) < users) at = index_.parent(at);
  return static_cast<std::int64_t>(index_.depth(at)) * spec_.block_tokens;
}

void RadixKv::show(std::span<BlockCell> cells) const {
  for (std::size_t id = 0; id < cells.size(); ++id) cells[id].content = generations_[id];
  index_.for_each_evictable([&](BlockId id) { cells[id].state = BlockCell::State::cached; });
  const auto hold = [&](std::span<const BlockId> blocks, Slot slot) {
    for (const BlockId id : blocks) {
      if (cells[id].users++ == 0) cells[id].holder = slot;
      cells[id].state = BlockCell::State::held;
    }
  };
  for (Slot slot = 0; slot < tables_.size(); ++slot) {
    for (RadixIndex::NodeId at = tables_[slot].at; at != RadixIndex::kRoot; at = index_.parent(at))
      hold(index_.blocks(at), slot);
    hold(tables_[slot].own, slot);
  }
}

void RadixKv::audit() const {
  index_.audit();
  std::vector<bool> seen(static_cast<std::size_t>(spec_.kv_blocks), false);
  std::size_t count = index_.pages();
  bool good = true;
  const auto see = [&](BlockId id) { good = good && !seen[id], seen[id] = true; };
  for (const BlockId id : free_) see(id);
  index_.for_each_evictable(see);
  for (const Table& table : tables_) {
    count += table.own.size();
    for (const BlockId id : table.own) see(id);
  }
  good = good && count + free_.size() == static_cast<std::size_t>(spec_.kv_blocks);
  TESSERA_CHECK(good, "every page is free, in the tree or one request's own");
  static_cast<void>(good);
}

}  // namespace tessera
