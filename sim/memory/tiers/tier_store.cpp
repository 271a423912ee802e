#include "sim/memory/tiers/tier_store.hpp"

#include <algorithm>

namespace tessera {
namespace {

std::uint32_t ids_for(const std::string& policy, std::uint32_t capacity) {
  TESSERA_CHECK(capacity > 0 && capacity < 1U << 29U, "a tier holds a block, and ids can name all");
  return find_tier_policy(policy).remembers ? 2 * capacity + 2 : capacity + 1;
}

}  // namespace

TierStore::TierStore(const std::string& policy, std::uint32_t capacity)
    : capacity_(capacity),
      ids_(ids_for(policy, capacity)),
      policy_(find_tier_policy(policy).make(ids_, capacity)),
      free_(ids_),
      index_(ids_),
      times_(ids_) {}

// A hand over the ids stays at a block that may go while there is one: ids are given out in order, so what
// comes next is mostly what is unpinned next. All the way round it has seen the least pin.
bool TierStore::all_pinned(std::int64_t now_ps) {
  if (now_ps < all_pinned_until_ps_) return true;
  std::int64_t least = kAbsent;
  for (std::uint32_t seen = 0; seen < ids_; ++seen) {
    const std::int64_t pinned_ps = times_[loose_].pinned_ps;
    if (pinned_ps <= now_ps) return false;
    least = std::min(least, pinned_ps);
    if (++loose_ == ids_) loose_ = 0;
  }
  all_pinned_until_ps_ = least;
  return true;
}

BlockHash TierStore::make_room(std::int64_t now_ps) {
  if (all_pinned(now_ps)) return kNoHash;
  put_back_.clear();
  BlockId victim = policy_->evict();
  while (times_[victim].pinned_ps > now_ps) {
    put_back_.push_back(victim);
    victim = policy_->evict();
  }
  for (const BlockId id : put_back_) policy_->access(id, times_[id].position);
  times_[victim].pinned_ps = kAbsent;
  --resident_;
  ++count_.evicted;
  free_.push(victim);
  return index_.hash_of(victim);
}

void TierStore::place(BlockHash hash, std::uint32_t position, std::int64_t ready_ps) {
  BlockId id = index_.find(hash);
  if (id != kNoBlock) {  // it was here before
    TESSERA_CHECK(!policy_->contains(id), "a block is resident once");
    free_.remove(id);
  } else {
    id = free_.pop();
    if (index_.hash_of(id) != kNoHash) {
      index_.erase(id);
      policy_->forget(id);
    }
    index_.insert(id, hash);
  }
  times_[id] = {ready_ps, ready_ps, position};
  all_pinned_until_ps_ = 0;
  policy_->access(id, position);
  ++resident_;
  ++count_.inserted;
}

void TierStore::erase(BlockHash hash) {
  const BlockId id = resident_id(hash);
  policy_->erase(id);
  times_[id].pinned_ps = kAbsent;
  all_pinned_until_ps_ = 0;
  free_.push(id);
  --resident_;
  ++count_.erased;
}

void TierStore::audit() const {
  std::uint32_t resident = 0;
  for (BlockId id = 0; id < ids_; ++id) {
    const bool in = policy_->contains(id);
    resident += in ? 1 : 0;
    TESSERA_CHECK(in != free_.contains(id), "an id is either resident or free");
    TESSERA_CHECK(in || times_[id].pinned_ps == kAbsent, "only what is resident can be given up");
    TESSERA_CHECK(!in || index_.find(index_.hash_of(id)) == id, "a resident block is found");
  }
  TESSERA_CHECK(resident == resident_ && resident_ <= capacity_, "residents are counted and fit");
  TESSERA_CHECK(count_.inserted == resident_ + count_.evicted + count_.erased,
                "every block that came is here or has left once");
}

}  // namespace tessera
