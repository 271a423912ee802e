#include "sim/serving/decode_set.hpp"

#include <algorithm>
#include <functional>

#include "models/base/check.hpp"

namespace tessera {

DecodeSet::DecodeSet(std::int64_t block_tokens, std::span<const std::int64_t> windows, std::int64_t width)
    : block_tokens_(block_tokens), width_(width), phase_(static_cast<std::size_t>(block_tokens)) {
  TESSERA_CHECK(block_tokens > 0 && width > 0, "a block holds at least one token, a request one sequence");
  for (const std::int64_t size : windows) windows_.push_back({size, 0, 0, {}});
}

std::size_t DecodeSet::phase_of(std::int64_t key) const {
  // The request crosses into a new block when (key + clock) mod block == 0.
  const std::int64_t phase = -key % block_tokens_;
  return static_cast<std::size_t>(phase < 0 ? phase + block_tokens_ : phase);
}

void DecodeSet::add(Slot slot, std::int64_t computed, std::int64_t remaining) {
  TESSERA_CHECK(remaining > 0, "a decode has a token to emit");
  if (slot >= slots_.size()) slots_.resize(slot + 1);
  Entry& entry = slots_[slot];
  TESSERA_CHECK(!entry.in, "a request decodes once");
  entry.in = true;
  ++entry.epoch;
  entry.key = computed - clock_;
  std::vector<Slot>& list = phase_[phase_of(entry.key)];
  entry.phase_at = static_cast<std::uint32_t>(list.size());
  list.push_back(slot);
  const auto value = static_cast<std::int32_t>(entry.key + 1);
  const auto at = std::upper_bound(keys_.begin(), keys_.end(), value, std::greater<>());
  keys_.insert(at, static_cast<std::size_t>(width_), value);
  sum_ += width_ * computed;
  due_.push_back({clock_ + remaining - 1, order_++, slot, entry.epoch});
  std::push_heap(due_.begin(), due_.end());
  for (Window& window : windows_) {
    if (computed >= window.size) continue;  // its next context already fills the window
    window.below += width_;
    window.below_keys += width_ * entry.key;
    window.fills.push_back({clock_ + window.size - computed, 0, slot, entry.epoch});
    std::push_heap(window.fills.begin(), window.fills.end());
  }
}

void DecodeSet::remove(Slot slot) {
  Entry& entry = slots_[slot];
  TESSERA_CHECK(entry.in, "the request decodes");
  entry.in = false;
  std::vector<Slot>& list = phase_[phase_of(entry.key)];
  list[entry.phase_at] = list.back();
  slots_[list[entry.phase_at]].phase_at = entry.phase_at;
  list.pop_back();
  const auto value = static_cast<std::int32_t>(entry.key + 1);
  const auto at = std::lower_bound(keys_.begin(), keys_.end(), value, std::greater<>());
  keys_.erase(at, at + width_);
  sum_ -= width_ * (entry.key + clock_);
  for (Window& window : windows_) {
    if (entry.key + clock_ >= window.size) continue;
    window.below -= width_;
    window.below_keys -= width_ * entry.key;
  }
}

std::int64_t DecodeSet::window_sum(std::size_t i) const {
  const Window& window = windows_[i];
  return window.below_keys + window.below * (clock_ + 1) + (size() - window.below) * window.size;
}

std::int64_t DecodeSet::steps_to_finish() {
  while (!due_.empty() && !live(due_.front())) {
    std::pop_heap(due_.begin(), due_.end());
    due_.pop_back();
  }
  return due_.empty() ? std::int64_t{1} << 62 : due_.front().step - clock_ + 1;
}

void DecodeSet::step(std::vector<Slot>& finished) {
  while (!due_.empty() && due_.front().step <= clock_) {
    const Due due = due_.front();
    std::pop_heap(due_.begin(), due_.end());
    due_.pop_back();
    if (!live(due)) continue;
    remove(due.slot);
    finished.push_back(due.slot);
  }
  sum_ += size();
  ++clock_;
  if (++clock_phase_ == block_tokens_) clock_phase_ = 0;
  for (Window& window : windows_) {
    while (!window.fills.empty() && window.fills.front().step <= clock_) {
      const Due due = window.fills.front();
      std::pop_heap(window.fills.begin(), window.fills.end());
      window.fills.pop_back();
      if (!live(due)) continue;
      window.below -= width_;
      window.below_keys -= width_ * slots_[due.slot].key;
    }
  }
}

}  // namespace tessera
