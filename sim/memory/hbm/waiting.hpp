// Banks in the order of the times at which they may go on.
//
// The banks of one class wait for much the same delay, so they get ready in the order in which they came: a
// queue, into which the few that overtake are sorted from its end.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "sim/memory/hbm/ticks.hpp"

namespace tessera {

using HbmBankSet = std::uint64_t;

class HbmWaiting {
 public:
  HbmWaiting() = default;
  HbmWaiting(const HbmWaiting&) = delete;  // it points into itself
  HbmWaiting& operator=(const HbmWaiting&) = delete;
  [[nodiscard]] HbmTick next() const { return next_; }  // time of the first; never if there is none
  // No bank may wait twice.
  void put(HbmBankSet banks, HbmTick time) {
    if (end_ == entries_.data() + kEntries) to_front();
    Entry* at = end_++;
    for (; at != begin_ && at[-1].time > time; --at) *at = at[-1];
    *at = {time, banks};
    next_ = begin_->time;
  }
  // The banks of next().
  HbmBankSet take() {
    const HbmBankSet banks = begin_->banks;
    ++begin_;
    next_ = begin_ == end_ ? kHbmNever : begin_->time;
    return banks;
  }
  void erase(HbmBankSet banks) {
    Entry* kept = begin_;
    for (const Entry* at = begin_; at != end_; ++at) {
      *kept = {at->time, at->banks & ~banks};
      if (kept->banks != 0) ++kept;
    }
    end_ = kept;
    next_ = begin_ == end_ ? kHbmNever : begin_->time;
  }
  void clear() { begin_ = end_ = entries_.data(), next_ = kHbmNever; }

 private:
  static constexpr std::size_t kEntries = 4 * kHbmMaxBanks;  // a move to the front is rare
  struct Entry {
    HbmTick time = 0;
    HbmBankSet banks = 0;
  };
  void to_front() {
    end_ = std::copy(begin_, end_, entries_.data());
    begin_ = entries_.data();
  }

  HbmTick next_ = kHbmNever;
  std::array<Entry, kEntries> entries_;
  Entry *begin_ = entries_.data(), *end_ = entries_.data();
};

}  // namespace tessera
