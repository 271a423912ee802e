#include "sim/engine/timing_wheel.hpp"

#include <algorithm>

namespace tessera::sim {

// Moves to the earliest slot that holds an event and makes its events the run.
void TimingWheel::advance() {
  if (occupied_ == 0 && far_.empty()) throw std::logic_error("TimingWheel: the queue is empty");
  Ticks slot = std::numeric_limits<Ticks>::max();
  if (occupied_ > 0) {
    const std::uint32_t from = index_of(current_);
    slot = current_ + ((next_occupied(from) - from) & (kSlots - 1));
  }
  if (!far_.empty()) slot = std::min(slot, far_.top().time >> slot_bits_);
  current_ = slot;
  run_.clear();
  next_ = 0;
  while (!far_.empty() && far_.top().time >> slot_bits_ == slot) run_.push_back(far_.pop());
  if (lists_[index_of(slot)] != kNone) collect(index_of(slot));
}

void TimingWheel::collect(std::uint32_t index) {
  const std::uint32_t last = lists_[index];
  bool sorted = true;
  std::uint32_t at = last;
  do {
    at = chunks_[at].next;
    const Chunk& chunk = chunks_[at];
    for (std::uint32_t i = 0; i < chunk.size; ++i) {
      sorted = sorted && (run_.empty() || run_.back().time <= chunk.events[i].time);
      run_.push_back(chunk.events[i]);
    }
  } while (at != last);
  // The ring, opened behind its last chunk, goes in front of the unused ones.
  const std::uint32_t first = chunks_[last].next;
  chunks_[last].next = unused_;
  unused_ = first;
  lists_[index] = kNone;
  --occupied_;
  words_[index / 64] &= ~(std::uint64_t{1} << (index % 64));
  if (words_[index / 64] == 0) summary_[index / 4096] &= ~(std::uint64_t{1} << (index / 64 % 64));
  if (!sorted) sort_run();
}

// Stable by time. Short runs, the usual case, are sorted in place; long ones through a buffer.
void TimingWheel::sort_run() {
  constexpr std::size_t kShort = 32;
  const auto earlier = [](const Event& a, const Event& b) { return a.time < b.time; };
  if (run_.size() > kShort) {
    std::stable_sort(run_.begin(), run_.end(), earlier);
    return;
  }
  for (auto it = run_.begin() + 1; it != run_.end(); ++it) {
    std::rotate(std::upper_bound(run_.begin(), it, *it, earlier), it, it + 1);
  }
}

}  // namespace tessera::sim
