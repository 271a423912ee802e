#include "sim/serving/kv_grouped.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/units.hpp"
#include "sim/memory/block_hash.hpp"

namespace tessera {
namespace {

// The same content in two tables is two blocks.
BlockHash table_hash(BlockHash hash, std::size_t group, std::int64_t k) {
  const BlockHash mixed =
      mix64(hash ^ mix64((std::uint64_t{group} << 32U) + static_cast<std::uint64_t>(k) + 1));
  return mixed != kNoHash ? mixed : 1;
}

}  // namespace

GroupedKv::GroupedKv(const KvMemorySpec& spec)
    : spec_(spec),
      plan_(*spec.plan),
      pool_(static_cast<std::uint32_t>(spec.kv_blocks),
            {.prefix_caching = spec.prefix_cache && spec.hashed_prompts}),
      blocks_per_page_(plan_.blocks_per_page()),
      least_free_(static_cast<std::int64_t>(spec.watermark * static_cast<double>(spec.kv_blocks))),
      counts_copies_(spec.hashed_prompts && !spec.prefix_cache) {
  if (spec.reuse_passed) is_passed_.resize(static_cast<std::size_t>(spec.kv_blocks), false);
  for (const KvPageGroup& group : plan_.groups) {
    findable_ = findable_ && !group.ring();
    if (!group.keeps_prefix()) continue;
    full_token_bytes_ += group.layers * group.entry_bytes / group.rule.stride;
    blocks_per_content_ +=
        static_cast<double>(group.tables * plan_.block_tokens) / static_cast<double>(group.page_tokens);
  }
}

std::int64_t GroupedKv::pages_for(const KvPageGroup& group, std::int64_t tokens) const {
  return group.ring() ? group.rule.pages(tokens, group.page_tokens) : ceil_div(tokens, group.page_tokens);
}

std::int64_t GroupedKv::end_of(const KvPageGroup& group, const Run& run) const {
  return run.begin + static_cast<std::int64_t>(run.blocks.size()) / group.tables;
}

// The first page, sinks apart, that the token at this position attends to or will be stored in.
std::int64_t GroupedKv::first_needed(const KvPageGroup& group, std::int64_t token) const {
  if (group.ring() || group.keeps_prefix()) return 0;
  return std::min(group.rule.live_pages(token + 1, group.page_tokens).first_live, token / group.page_tokens);
}

std::int64_t GroupedKv::kept_pages(const KvPageGroup& group, std::int64_t token) const {
  return group.ring() ? 0 : group.rule.live_pages(token + 1, group.page_tokens).kept_prefix;
}

// The most blocks a request of so many tokens holds, a prompt chunk beside its windows included.
std::int64_t GroupedKv::most_blocks(std::int64_t tokens) const {
  std::int64_t blocks = 0;
  for (const KvPageGroup& group : plan_.groups) {
    std::int64_t pages = pages_for(group, tokens);
    if (!group.keeps_prefix() && !group.ring())
      pages = std::min(pages, group.rule.peak_pages(tokens, group.page_tokens) +
                                  ceil_div(spec_.max_batched_tokens, group.page_tokens));
    blocks += pages * group.tables;
  }
  return blocks;
}

std::string GroupedKv::refusal(std::int64_t input, std::int64_t output) const {
  const std::int64_t most = input + output - 1;  // the last token is never stored
  const std::int64_t grown = ceil_div(most, plan_.block_tokens) * plan_.block_tokens;
  std::int64_t blocks = most_blocks(grown);
  // A decode that starts a block asks for a page of every group at once, whichever need one.
  if (grown - plan_.block_tokens >= input)
    blocks = std::max(blocks, most_blocks(grown - plan_.block_tokens) + blocks_per_page_);
  return blocks > spec_.kv_blocks - least_free_ ? "needs more KV blocks than the engine has" : "";
}

void GroupedKv::arrive(Slot slot, std::int64_t, std::int64_t, std::span<const std::uint64_t> hashes) {
  if (slot >= tables_.size()) tables_.resize(slot + 1);
  Table& table = tables_[slot];
  table.hashes.assign(hashes.begin(), hashes.end());
  table.runs.assign(plan_.groups.size(), {});
  table.covered = 0;
  if (counts_copies_) copies_.arrive(slot, hashes);
}

BlockId GroupedKv::find(const Table& table, std::size_t group, std::int64_t page, std::int64_t k) const {
  const KvPageGroup& g = plan_.groups[group];
  const Run& run = table.runs[group];
  const bool recent = page >= run.saved_begin;
  const std::vector<SavedBlock>& list = recent ? run.saved : run.saved_sinks;
  const auto at = static_cast<std::size_t>((recent ? page - run.saved_begin : page) * g.tables + k);
  if (at < list.size() && pool_.generation(list[at].id) == list[at].generation) return list[at].id;
  const auto last = static_cast<std::size_t>((page + 1) * g.page_tokens / plan_.block_tokens);
  if (last > table.hashes.size()) return kNoBlock;
  return pool_.lookup(table_hash(table.hashes[last - 1], group, k));
}

bool GroupedKv::page_found(const Table& table, std::size_t group, std::int64_t page) const {
  for (std::int64_t k = 0; k < plan_.groups[group].tables; ++k)
    if (find(table, group, page, k) == kNoBlock) return false;
  return true;
}

// Tokens of the longest usable prefix. Full groups from the left bound it, window groups from the right.
std::int64_t GroupedKv::find_prefix(const Table& table, std::int64_t target) const {
  if (!spec_.prefix_cache || !findable_) return 0;
  const std::int64_t unit = plan_.hit_tokens;
  std::int64_t hit = (target - 1) / unit * unit;
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const KvPageGroup& group = plan_.groups[g];
    if (!group.keeps_prefix()) continue;
    std::int64_t page = 0;
    while (page * group.page_tokens < hit && page_found(table, g, page)) ++page;
    hit = std::min(hit, page * group.page_tokens / unit * unit);
  }
  for (bool lowered = true; lowered && hit > 0;) {
    lowered = false;
    for (std::size_t g = 0; g < plan_.groups.size() && !lowered; ++g) {
      const KvPageGroup& group = plan_.groups[g];
      if (group.keeps_prefix()) continue;
      const std::int64_t end = hit / group.page_tokens, first = first_needed(group, hit);
      for (std::int64_t page = end - 1; page >= first && !lowered; --page)
        if (!page_found(table, g, page)) hit = page * group.page_tokens / unit * unit, lowered = true;
      const std::int64_t kept = lowered ? 0 : std::min(kept_pages(group, hit), first);
      for (std::int64_t page = 0; page < kept && !lowered; ++page)
        if (!page_found(table, g, page)) hit = page * group.page_tokens / unit * unit, lowered = true;
    }
  }
  return hit;
}

std::optional<std::int64_t> GroupedKv::admit(Slot slot, std::int64_t target, std::int64_t budget) {
  Table& table = tables_[slot];
  const std::int64_t hit = find_prefix(table, target);
  const std::int64_t chunk_end = hit + std::min(target - hit, budget);
  const bool whole = spec_.reserve_full_prompt || spec_.allocate_full_prompt;
  std::int64_t need = 0;
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const KvPageGroup& group = plan_.groups[g];
    const std::int64_t end = hit / group.page_tokens;
    need += group.tables * (pages_for(group, whole && group.keeps_prefix() ? target : chunk_end) - end);
    const auto count_free = [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t page = from; page < to; ++page)
        for (std::int64_t k = 0; k < group.tables; ++k) need += unused(find(table, g, page, k));
    };
    const std::int64_t first = std::min(first_needed(group, hit), end);
    count_free(first, end);
    if (hit > 0) count_free(0, std::min(kept_pages(group, hit), first));
  }
  if (need > free_blocks() - least_free_) return std::nullopt;
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const KvPageGroup& group = plan_.groups[g];
    Run& run = table.runs[g];
    const std::int64_t end = hit / group.page_tokens;
    run.begin = std::min(first_needed(group, hit), end);
    const auto take = [&](std::int64_t from, std::int64_t to, std::vector<BlockId>& into) {
      for (std::int64_t page = from; page < to; ++page)
        for (std::int64_t k = 0; k < group.tables; ++k) {
          into.push_back(find(table, g, page, k));
          take_found(into.back());
        }
    };
    take(run.begin, end, run.blocks);
    if (hit > 0) take(0, std::min(kept_pages(group, hit), run.begin), run.sinks);
  }
  for (Run& run : table.runs) run.saved.clear(), run.saved_sinks.clear();
  table.covered = hit;
  account(table, 1);
  return hit;
}

void GroupedKv::let_pass(BlockId block) {
  // A block with another user is given back, not kept aside.
  if (is_passed_.empty() || (pool_.prefix_caching() && pool_.references(block) > 1)) return pool_.free(block);
  if (passed_.size() >= 2 * is_passed_.size()) drop_stale_passed();
  passed_.push_back(block);
  is_passed_[block] = true;
  ++passed_count_;
}

// Entries of blocks found by others since, and all but the newest of a block that was set aside again.
void GroupedKv::drop_stale_passed() {
  for (std::size_t i = passed_.size(); i-- > 0;) {
    if (is_passed_[passed_[i]])
      is_passed_[passed_[i]] = false;
    else
      passed_[i] = kNoBlock;
  }
  std::erase(passed_, kNoBlock);
  for (const BlockId block : passed_) is_passed_[block] = true;
}

// A block set aside becomes its finder's; this object's use of it goes over.
void GroupedKv::take_found(BlockId block) {
  if (is_passed_.empty() || !is_passed_[block]) return pool_.touch(block);
  is_passed_[block] = false;
  --passed_count_;
}

void GroupedKv::take_fresh(std::span<BlockId> out) {
  std::size_t taken = 0;
  for (; taken < out.size() && passed_count_ > 0; passed_.pop_back()) {
    const BlockId block = passed_.back();
    if (!is_passed_[block]) continue;  // found by someone since
    is_passed_[block] = false;
    --passed_count_;
    pool_.recycle(block);
    out[taken++] = block;
  }
  if (passed_count_ == 0) passed_.clear();
  pool_.allocate_n(out.subspan(taken));
}

// Gives back the pages that the window of the token at this position has passed.
void GroupedKv::pass(std::size_t g, Run& run, std::int64_t token) {
  const KvPageGroup& group = plan_.groups[g];
  const std::int64_t to = std::min(first_needed(group, token), end_of(group, run));
  if (to <= run.begin) return;
  const std::int64_t kept = kept_pages(group, token);
  const auto cut = static_cast<std::size_t>((to - run.begin) * group.tables);
  for (std::size_t i = 0; i < cut; ++i) {
    if (run.begin + static_cast<std::int64_t>(i) / group.tables < kept)
      run.sinks.push_back(run.blocks[i]);
    else
      let_pass(run.blocks[i]);
  }
  run.blocks.erase(run.blocks.begin(), run.blocks.begin() + static_cast<std::ptrdiff_t>(cut));
  run.begin = to;
}

// Pages up to this many tokens in every group; the blocks are there.
void GroupedKv::cover(Table& table, std::int64_t tokens) {
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const KvPageGroup& group = plan_.groups[g];
    Run& run = table.runs[g];
    const std::int64_t more = pages_for(group, tokens) - end_of(group, run);
    if (more <= 0) continue;
    const std::size_t had = run.blocks.size();
    run.blocks.resize(had + static_cast<std::size_t>(more * group.tables));
    take_fresh(std::span(run.blocks).subspan(had));
  }
  table.covered = tokens;
}

bool GroupedKv::extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) {
  Table& table = tables_[slot];
  account(table, -1);
  const std::int64_t covered = ceil_div(after, plan_.block_tokens) * plan_.block_tokens;
  std::int64_t need = 0;
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const KvPageGroup& group = plan_.groups[g];
    pass(g, table.runs[g], before);
    const std::int64_t want =
        spec_.allocate_full_prompt && group.keeps_prefix() ? std::max(covered, target) : covered;
    need += group.tables * std::max<std::int64_t>(0, pages_for(group, want) - end_of(group, table.runs[g]));
  }
  if (need > free_blocks()) {
    account(table, 1);
    return false;
  }
  if (spec_.allocate_full_prompt)
    for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
      const KvPageGroup& group = plan_.groups[g];
      Run& run = table.runs[g];
      const std::int64_t more = group.keeps_prefix() ? pages_for(group, target) - end_of(group, run) : 0;
      if (more <= 0) continue;
      const std::size_t had = run.blocks.size();
      run.blocks.resize(had + static_cast<std::size_t>(more * group.tables));
      take_fresh(std::span(run.blocks).subspan(had));
    }
  cover(table, covered);
  account(table, 1);
  if (counts_copies_) copies_.hold(slot, after / plan_.block_tokens);
  if (!spec_.prefix_cache || table.hashes.empty() || !findable_) return true;
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const KvPageGroup& group = plan_.groups[g];
    const Run& run = table.runs[g];
    for (std::int64_t page = before / group.page_tokens; (page + 1) * group.page_tokens <= after; ++page) {
      const auto last = static_cast<std::size_t>((page + 1) * group.page_tokens / plan_.block_tokens);
      if (last > table.hashes.size()) break;
      for (std::int64_t k = 0; k < group.tables; ++k)
        pool_.publish(run.blocks[static_cast<std::size_t>((page - run.begin) * group.tables + k)],
                      table_hash(table.hashes[last - 1], g, k));
    }
  }
  return true;
}

void GroupedKv::grow(std::span<const Slot> slots) {
  for (const Slot slot : slots) {
    Table& table = tables_[slot];
    account(table, -1);
    for (std::size_t g = 0; g < plan_.groups.size(); ++g) pass(g, table.runs[g], table.covered);
    cover(table, table.covered + plan_.block_tokens);
    account(table, 1);
  }
}

void GroupedKv::leave(Slot slot, std::int64_t computed, bool comes_back) {
  Table& table = tables_[slot];
  account(table, -1);
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const KvPageGroup& group = plan_.groups[g];
    Run& run = table.runs[g];
    run.saved.clear();
    run.saved_sinks.clear();
    if (comes_back && spec_.prefix_cache && findable_) {
      run.saved_begin = run.begin;
      for (const BlockId block : run.sinks) run.saved_sinks.push_back({block, pool_.generation(block)});
      const std::int64_t whole = std::max<std::int64_t>(0, computed / group.page_tokens - run.begin);
      const auto count = std::min(static_cast<std::size_t>(whole * group.tables), run.blocks.size());
      for (std::size_t i = 0; i < count; ++i)
        run.saved.push_back({run.blocks[i], pool_.generation(run.blocks[i])});
    }
    pool_.free_tail_first(run.blocks);
    pool_.free_tail_first(run.sinks);
    run.blocks.clear();
    run.sinks.clear();
    run.begin = 0;
  }
  table.covered = 0;
  if (counts_copies_) copies_.leave(slot);
}

std::int64_t GroupedKv::blocks_of(Slot slot, std::size_t group) const {
  const Run& run = tables_[slot].runs[group];
  return static_cast<std::int64_t>(run.blocks.size() + run.sinks.size());
}

void GroupedKv::account(const Table& table, std::int64_t sign) {
  covered_tokens_ += sign * table.covered;
  for (std::size_t g = 0; g < plan_.groups.size(); ++g) {
    const KvPageGroup& group = plan_.groups[g];
    const auto blocks = static_cast<std::int64_t>(table.runs[g].blocks.size() + table.runs[g].sinks.size());
    held_blocks_ += sign * blocks;
    useful_bytes_ += sign * group.useful_bytes(table.covered);
    padding_bytes_ += static_cast<double>(sign * blocks * plan_.block_bytes()) * plan_.padding(group);
  }
}

KvUse GroupedKv::use(std::int64_t resident, bool) const {
  // In token slots of the block's largest group, so that bytes add up: a slot is block_bytes / block_tokens.
  const std::int64_t slot_bytes = std::max<std::int64_t>(1, plan_.block_bytes() / plan_.block_tokens);
  KvUse use;
  use.used_blocks = static_cast<std::int64_t>(pool_.live_blocks()) - passed_count_;
  use.held_slots = held_blocks_ * plan_.block_tokens;
  // Tokens to come have room in full groups already; a window that is full holds as much without them.
  const std::int64_t to_come = std::max<std::int64_t>(0, covered_tokens_ - resident) * full_token_bytes_;
  use.resident = std::clamp<std::int64_t>((useful_bytes_ - to_come) / slot_bytes, 0, use.held_slots);
  use.padding = static_cast<std::int64_t>(padding_bytes_) / slot_bytes;
  // A content held twice is so in every group that keeps all; what windows hold of it is left out.
  const auto twice =
      static_cast<std::int64_t>(static_cast<double>(copies_.duplicates()) * blocks_per_content_);
  use.duplicate = std::min(use.resident, (pool_.duplicates() + twice) * plan_.block_tokens);
  return use;
}

void GroupedKv::show(std::span<BlockCell> cells) const {
  pool_.show_free(cells);
  for (Slot slot = 0; slot < tables_.size(); ++slot)
    for (const Run& run : tables_[slot].runs) {
      pool_.show_held(cells, run.blocks, slot);
      pool_.show_held(cells, run.sinks, slot);
    }
  for (BlockId block = 0; block < is_passed_.size(); ++block)
    if (is_passed_[block]) cells[block].state = BlockCell::State::cached;
}

}  // namespace tessera
