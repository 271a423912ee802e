#include "sim/serving/kv_branched.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {

BranchedKv::BranchedKv(const KvMemorySpec& spec)
    : spec_(spec),
      pool_(static_cast<std::uint32_t>(spec.kv_blocks)),
      cow_(pool_),
      branches_(spec.branches),
      beams_(spec.beam_survival < 1),
      survival_(spec.beam_survival),
      least_free_(static_cast<std::int64_t>(spec.watermark * static_cast<double>(spec.kv_blocks))),
      counts_copies_(spec.hashed_prompts && !spec.prefix_cache),
      parents_(static_cast<std::size_t>(spec.branches)),
      next_(static_cast<std::size_t>(spec.branches)) {
  TESSERA_CHECK(branches_ >= 1, "a request has a sequence");
}

std::int64_t BranchedKv::blocks_for(std::int64_t tokens) const {
  return ceil_div(tokens, spec_.block_tokens);
}

std::int64_t BranchedKv::blocks_after(const Group& group, std::int64_t after, std::int64_t target) const {
  if (after < target && after <= group.input)
    return blocks_for(spec_.allocate_full_prompt ? group.input : after);
  const std::int64_t full = group.input / spec_.block_tokens;
  const std::int64_t context = group.input + (target - group.input) / branches_;
  return full + branches_ * (blocks_for(context) - full);
}

std::string BranchedKv::refusal(std::int64_t input, std::int64_t output) const {
  const std::int64_t full = input / spec_.block_tokens;
  const std::int64_t most = full + branches_ * (blocks_for(input + output - 1) - full);
  return most > spec_.kv_blocks - least_free_ ? "needs more KV blocks than the engine has" : "";
}

void BranchedKv::arrive(Slot slot, std::int64_t input, std::int64_t output,
                        std::span<const std::uint64_t> hashes) {
  if (slot >= groups_.size()) groups_.resize(slot + 1);
  Group& group = groups_[slot];
  group.input = input, group.output = output;
  group.hashes.assign(hashes.begin(), hashes.end());
  group.saved.clear();
  group.tables.resize(static_cast<std::size_t>(branches_));
  group.branched = false;
  group.random = sim::RandomStream(spec_.seed, arrivals_++);
  if (counts_copies_) copies_.arrive(slot, hashes);
}

// Leading full prompt blocks that are in the pool, into hit_; how many of them stand in the free queue.
std::int64_t BranchedKv::find_prefix(const Group& group, std::int64_t target) {
  hit_.clear();
  if (!spec_.prefix_cache) return 0;
  const auto limit = static_cast<std::size_t>(std::min(target - 1, group.input) / spec_.block_tokens);
  std::int64_t in_free_queue = 0;
  for (std::size_t i = 0; i < limit; ++i) {
    BlockId id = kNoBlock;
    if (i < group.saved.size() && pool_.generation(group.saved[i].id) == group.saved[i].generation) {
      id = group.saved[i].id;
    } else if (i < group.hashes.size()) {
      id = pool_.lookup(group.hashes[i]);
    }
    if (id == kNoBlock) break;
    hit_.push_back(id);
    if (pool_.references(id) == 0) ++in_free_queue;
  }
  return in_free_queue;
}

std::optional<std::int64_t> BranchedKv::admit(Slot slot, std::int64_t target, std::int64_t budget) {
  Group& group = groups_[slot];
  const std::int64_t in_free_queue = find_prefix(group, target);
  const auto hits = static_cast<std::int64_t>(hit_.size());
  const std::int64_t cached = hits * spec_.block_tokens;
  const bool whole = spec_.reserve_full_prompt || spec_.allocate_full_prompt;
  const std::int64_t known = whole ? target : cached + std::min(target - cached, budget);
  if (blocks_after(group, known, target) - hits + in_free_queue >
      static_cast<std::int64_t>(pool_.free_blocks()) - least_free_)
    return std::nullopt;
  for (const BlockId id : hit_) pool_.touch(id);
  group.tables[0].assign(hit_.begin(), hit_.end());
  group.saved.clear();
  held_blocks_ += hits;
  return cached;
}

// From the prompt's table to one table a branch, each with room for `context` tokens.
void BranchedKv::branch(Group& group, std::int64_t context) {
  const bool partial = group.input % spec_.block_tokens != 0;
  for (std::size_t i = 1; i < group.tables.size(); ++i) cow_.fork(group.tables[0], group.tables[i]);
  for (CopyOnWrite::Table& table : group.tables) {
    if (partial) cow_.own_last(table);
    const std::size_t had = table.size();
    table.resize(static_cast<std::size_t>(blocks_for(context)));
    pool_.allocate_n(std::span(table).subspan(had));
  }
  group.branched = true;
  group.context = context;
  group.steps = group.output - 1 - (context - group.input);
}

bool BranchedKv::extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) {
  Group& group = groups_[slot];
  const auto per_branch = [&] {
    std::int64_t blocks = 0;
    for (const CopyOnWrite::Table& table : group.tables) blocks += static_cast<std::int64_t>(table.size());
    return blocks;
  };
  partial_ = slot;
  ahead_ = 0;
  if (!group.branched) {
    CopyOnWrite::Table& prompt = group.tables[0];
    const std::int64_t had = per_branch();
    if (blocks_after(group, after, target) - had > static_cast<std::int64_t>(pool_.free_blocks()))
      return false;
    const bool now = after == target || after > group.input;
    const std::int64_t want = blocks_for(now || spec_.allocate_full_prompt ? group.input : after);
    if (want > had) {
      prompt.resize(static_cast<std::size_t>(want));
      pool_.allocate_n(std::span(prompt).subspan(static_cast<std::size_t>(had)));
    }
    if (now) {
      branch(group, group.input + (target - group.input) / branches_);
    } else {
      ahead_ = spec_.allocate_full_prompt ? std::max<std::int64_t>(0, group.input - after) : 0;
    }
    held_blocks_ += per_branch() - had;
  }
  if (group.branched && after < target) ahead_ = branches_ * group.context - after;
  // Recomputed answers may take several chunks; beams move once all of it is there.
  if (beams_ && after == target && group.steps > 0) beaming_.push_back(slot);
  if (counts_copies_) copies_.hold(slot, std::min(after, group.input) / spec_.block_tokens);
  if (!spec_.prefix_cache || group.hashes.empty()) return true;
  const auto full = std::min(static_cast<std::size_t>(std::min(after, group.input) / spec_.block_tokens),
                             group.hashes.size());
  for (auto i = static_cast<std::size_t>(before / spec_.block_tokens); i < full; ++i)
    pool_.publish(group.tables[0][i], group.hashes[i]);
  return true;
}

// One step of the beams. What the dropped ones free is at least what the copies of the others take.
void BranchedKv::survive(Group& group) {
  if (!survival_.step(group.random, parents_)) return;
  std::vector<CopyOnWrite::Table>& now = group.tables;
  constexpr std::uint32_t kNobody = ~std::uint32_t{0};
  heir_.assign(now.size(), kNobody);
  for (std::uint32_t i = 0; i < now.size(); ++i) {
    if (heir_[parents_[i]] != kNobody) continue;
    heir_[parents_[i]] = i;
    next_[i].swap(now[parents_[i]]);
  }
  for (std::size_t p = 0; p < now.size(); ++p)
    if (heir_[p] == kNobody) cow_.release(now[p]);
  const bool partial = group.context % spec_.block_tokens != 0;
  for (std::uint32_t i = 0; i < now.size(); ++i) {
    const std::uint32_t first = heir_[parents_[i]];
    if (first == i) continue;
    cow_.fork(next_[first], next_[i]);
    if (partial) cow_.own_last(next_[i]);
  }
  now.swap(next_);
  for (CopyOnWrite::Table& table : next_) table.clear();
}

void BranchedKv::grow(std::span<const Slot> slots) {
  for (std::size_t i = beaming_.size(); i-- > 0;) {
    Group& group = groups_[beaming_[i]];
    survive(group);
    ++group.context;
    if (--group.steps > 0) continue;
    beaming_[i] = beaming_.back();
    beaming_.pop_back();
  }
  for (const Slot slot : slots)
    for (CopyOnWrite::Table& table : groups_[slot].tables) table.push_back(pool_.allocate());
  held_blocks_ += static_cast<std::int64_t>(slots.size()) * branches_;
}

void BranchedKv::leave(Slot slot, std::int64_t computed, bool comes_back) {
  Group& group = groups_[slot];
  if (comes_back && spec_.prefix_cache) {
    const std::int64_t known = group.branched ? group.input : computed;
    const auto full = std::min(static_cast<std::size_t>(known / spec_.block_tokens), group.tables[0].size());
    for (std::size_t i = 0; i < full; ++i)
      group.saved.push_back({group.tables[0][i], pool_.generation(group.tables[0][i])});
  }
  for (CopyOnWrite::Table& table : group.tables) {
    held_blocks_ -= static_cast<std::int64_t>(table.size());
    cow_.release(table);
  }
  if (beams_) std::erase(beaming_, slot);
  if (counts_copies_) copies_.leave(slot);
  group.branched = false;
  if (slot == partial_) ahead_ = 0;
}

KvUse BranchedKv::use(std::int64_t resident, bool) const {
  KvUse use;
  use.used_blocks = pool_.live_blocks();
  use.held_slots = held_blocks_ * spec_.block_tokens;
  use.resident = resident;
  use.reserved = ahead_;
  use.duplicate = (pool_.duplicates() + copies_.duplicates()) * spec_.block_tokens;
  return use;
}

void BranchedKv::show(std::span<BlockCell> cells) const {
  pool_.show_free(cells);
  for (Slot slot = 0; slot < groups_.size(); ++slot)
    for (const CopyOnWrite::Table& table : groups_[slot].tables) pool_.show_held(cells, table, slot);
}

}  // namespace tessera
