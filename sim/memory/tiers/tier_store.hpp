// What one tier holds: blocks by hash, which of them go first, which must stay and from when each can be
// read.
//
// Blocks get dense ids for the policy. Where one remembers what it evicted there are twice as many ids as
// blocks, and ids freed first are used first, so that a block that comes back finds its memory; an id that
// goes to another block is forgotten first. A block that is being read or written is pinned until then; the
// policy never gives up a pinned block: it is put back, as used just now, and the next victim is asked for.
// While all are pinned the policy is not asked at all: nothing is taken in, and nothing about it changes.
//
// Invariants (audit): inserted = resident + evicted + erased, resident <= capacity, a block is resident once.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "models/base/check.hpp"
#include "sim/memory/block_hash.hpp"
#include "sim/memory/free_queue.hpp"
#include "sim/memory/hash_index.hpp"
#include "sim/memory/tiers/tier_policy.hpp"

namespace tessera {

class TierStore {
 public:
  struct Count {
    std::int64_t inserted = 0, evicted = 0, erased = 0;
    std::int64_t refused = 0;  // no room: every block was pinned
  };

  TierStore(const std::string& policy, std::uint32_t capacity);

  [[nodiscard]] bool contains(BlockHash hash) const { return find(hash) != kNoBlock; }
  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }
  [[nodiscard]] std::uint32_t resident() const { return resident_; }
  [[nodiscard]] const Count& count() const { return count_; }

  // From when a resident block can be read.
  [[nodiscard]] std::int64_t ready_ps(BlockHash hash) const { return times_[resident_id(hash)].ready_ps; }
  void touch(BlockHash hash, std::uint32_t position) { policy_->access(resident_id(hash), position); }
  void pin(BlockHash hash, std::int64_t until_ps) {
    Times& times = times_[resident_id(hash)];
    if (until_ps > times.pinned_ps) times.pinned_ps = until_ps;
  }

  // A resident block is being written until then: it can neither be read nor given up before.
  void arrives(BlockHash hash, std::int64_t ready_ps) {
    Times& times = times_[resident_id(hash)];
    times.ready_ps = ready_ps;
    if (ready_ps > times.pinned_ps) times.pinned_ps = ready_ps;
  }

  // Takes in a block that is not resident; what has to go for it is passed to `evicted(hash)`. False, and
  // nothing done, where every block is pinned at `now_ps`.
  template <class Evicted>
  bool insert(BlockHash hash, std::uint32_t position, std::int64_t ready_ps, std::int64_t now_ps,
              Evicted evicted) {
    if (resident_ == capacity_) {
      const BlockHash gone = make_room(now_ps);
      if (gone == kNoHash) {
        ++count_.refused;
        return false;
      }
      place(hash, position, ready_ps);
      evicted(gone);
      return true;
    }
    place(hash, position, ready_ps);
    return true;
  }
  // A resident block leaves.
  void erase(BlockHash hash);

  void audit() const;

 private:
  static constexpr std::int64_t kAbsent = std::numeric_limits<std::int64_t>::max();
  struct Times {
    std::int64_t ready_ps = 0;
    std::int64_t pinned_ps = kAbsent;  // of an id that is not resident: never to be given up
    std::uint32_t position = 0;
  };

  [[nodiscard]] BlockId find(BlockHash hash) const {
    const BlockId id = index_.find(hash);
    return id != kNoBlock && policy_->contains(id) ? id : kNoBlock;
  }
  [[nodiscard]] BlockId resident_id(BlockHash hash) const {
    const BlockId id = find(hash);
    TESSERA_CHECK(id != kNoBlock, "the block is resident");
    return id;
  }
  [[nodiscard]] bool all_pinned(std::int64_t now_ps);
  BlockHash make_room(std::int64_t now_ps);
  void place(BlockHash hash, std::uint32_t position, std::int64_t ready_ps);

  std::uint32_t capacity_;
  std::uint32_t resident_ = 0;
  std::uint32_t ids_;
  std::unique_ptr<TierPolicy> policy_;
  FreeQueue free_;  // ids of blocks that are not resident, gone longest first
  HashIndex index_;
  std::vector<Times> times_;
  std::vector<BlockId> put_back_;
  // Where a block was last found that is not pinned; or else until when, as pins only grow, all are.
  BlockId loose_ = 0;
  std::int64_t all_pinned_until_ps_ = 0;
  Count count_;
};

}  // namespace tessera
