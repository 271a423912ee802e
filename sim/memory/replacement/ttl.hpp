// TTL: LRU whose keys also expire once more than `time_to_live` has passed since their last use, whether
// or not room is needed. Every use renews the lifetime, as providers of prompt caches do it (Anthropic's
// default is five minutes). The clock is the trace's; it is read at the start of a request, so the blocks
// of one request live or die together. Order of last use is order of expiry: the old end of the list is
// all that has to be looked at.
#pragma once

#include "sim/memory/linked_lists.hpp"
#include "sim/memory/replacement.hpp"

namespace tessera {

class TimeToLive {
 public:
  explicit TimeToLive(const CacheSetup& setup)
      : keys_(setup.distinct, 1), room_(setup.capacity), lifetime_(setup.time_to_live) {}

  void begin_request(std::int64_t now_ns, std::span<const std::uint32_t>) {
    now_ = now_ns;
    while (!keys_.empty(0) && now_ - keys_[keys_.oldest(0)].last_use > lifetime_) drop_oldest();
  }

  [[nodiscard]] bool contains(std::uint32_t id) const { return keys_[id].last_use != kAbsent; }
  void prefetch(std::uint32_t id) const { keys_.prefetch(id); }

  bool access(std::uint32_t id) {
    const bool hit = contains(id);
    if (hit) {
      keys_.make_newest(0, id);
    } else {
      if (room_ == 0) drop_oldest();
      --room_;
      keys_.push_newest(0, id);
    }
    keys_[id].last_use = now_;
    return hit;
  }

 private:
  static constexpr std::int64_t kAbsent = INT64_MIN;
  struct Node {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    std::int64_t last_use = kAbsent;
  };

  void drop_oldest() {
    keys_[keys_.pop_oldest(0)].last_use = kAbsent;
    ++room_;
  }

  LinkedLists<Node> keys_;
  std::int64_t room_;
  std::int64_t lifetime_;
  std::int64_t now_ = 0;
};

static_assert(FollowsRequests<TimeToLive>);

}  // namespace tessera
