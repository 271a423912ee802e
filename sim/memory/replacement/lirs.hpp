// LIRS (Jiang, Zhang, SIGMETRICS 2002): keys of low inter-reference recency (LIR) fill all of the cache
// but 1 % (at least one key); the rest is for resident keys of high one (HIR), in the FIFO queue Q, whose
// oldest is evicted. Stack S orders keys by last use: all LIR ones, and HIR ones, resident or not, used
// since the oldest LIR key was; HIR keys at its bottom are pruned away.
//   hit on LIR: to the top of S.
//   hit on a HIR key in S, or a miss found in S: becomes LIR, and the LIR key at the bottom of S becomes
//     HIR, out of S and into Q.
//   hit on a HIR key not in S: to the top of S and the newest end of Q.
//   any other miss: LIR while those are short of their share, else HIR at the top of S and in Q.
// S holds at most twice the capacity: beyond, the key not resident for longest leaves it. The paper asks
// for some bound; this is libCacheSim's, which differs in one case: there a hit on a HIR key outside S
// also turns the bottom LIR key into a HIR one. The paper's rule is followed.
#pragma once

#include <algorithm>

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class Lirs {
 public:
  explicit Lirs(const CacheSetup& setup)
      : stack_(setup.distinct, 1),
        queues_(setup.distinct, 2),
        room_(setup.capacity),
        room_lir_(setup.capacity - std::max<std::int64_t>(1, setup.capacity / 100)),
        room_stack_(2 * setup.capacity) {}

  [[nodiscard]] bool contains(std::uint32_t id) const { return stack_[id].status >= kHir; }
  void prefetch(std::uint32_t id) const {
    stack_.prefetch(id);
    queues_.prefetch(id);
  }

  bool access(std::uint32_t id) {
    Node& key = stack_[id];
    const Status found = key.status;
    if (found == kLir) {
      stack_.make_newest(0, id);
      prune();
      return true;
    }
    const bool hit = found == kHir;
    const bool was_in_stack = key.in_stack;
    if (hit) {
      queues_.remove(id);
    } else {
      if (found == kGone) queues_.remove(id);  // before room is made for it
      if (room_ == 0) evict();
      --room_;
    }
    if (was_in_stack) {
      stack_.remove(id);
    } else {
      key.in_stack = true;
      --room_stack_;
    }
    stack_.push_newest(0, id);
    if (was_in_stack || (!hit && room_lir_ > 0)) {
      key.status = kLir;
      --room_lir_;
      if (room_lir_ < 0) demote_oldest_lir();
    } else {
      key.status = kHir;
      queues_.push_newest(kQ, id);
    }
    while (room_stack_ < 0 && !queues_.empty(kGhosts)) forget(queues_.pop_oldest(kGhosts));
    return hit;
  }

 private:
  enum Status : std::uint8_t { kAbsent, kGone, kHir, kLir };  // kGone: in S but not resident
  enum Queue : std::uint32_t { kQ, kGhosts };                 // kGhosts: those gone, oldest first
  struct Node {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    Status status = kAbsent;
    bool in_stack = false;
  };
  struct Links {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
  };

  void leave_stack(std::uint32_t id) {
    stack_.remove(id);
    stack_[id].in_stack = false;
    ++room_stack_;
  }
  void forget(std::uint32_t id) {
    leave_stack(id);
    stack_[id].status = kAbsent;
  }
  void evict() {
    const std::uint32_t id = queues_.pop_oldest(kQ);
    ++room_;
    if (stack_[id].in_stack) {
      stack_[id].status = kGone;
      queues_.push_newest(kGhosts, id);
    } else {
      stack_[id].status = kAbsent;
    }
  }
  void prune() {
    while (!stack_.empty(0)) {
      const std::uint32_t bottom = stack_.oldest(0);
      if (stack_[bottom].status == kLir) return;
      if (stack_[bottom].status == kGone) {
        queues_.remove(bottom);
        forget(bottom);
      } else {
        leave_stack(bottom);
      }
    }
  }
  void demote_oldest_lir() {
    prune();
    const std::uint32_t bottom = stack_.oldest(0);
    leave_stack(bottom);
    stack_[bottom].status = kHir;
    queues_.push_newest(kQ, bottom);
    ++room_lir_;
    prune();
  }

  LinkedLists<Node> stack_;    // S
  LinkedLists<Links> queues_;  // Q, and those gone: a key is in one of them at most
  std::int64_t room_;
  std::int64_t room_lir_;
  std::int64_t room_stack_;
};

}  // namespace tessera
