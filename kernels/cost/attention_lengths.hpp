// The context lengths of a decode batch, known as a sum and the longest few.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/cost/attention.hpp"
#include "kernels/tiles/attention_tiles.hpp"

namespace tessera {

inline constexpr std::size_t kLongestUsed =
    32;  // more do not sharpen the tail (tests/unit/kernels/attention_queue_test.cpp)

// Key tiles of `tile` tokens that a window of `window` tokens (0: none) ending at `length` touches.
constexpr std::int64_t window_tiles(std::int64_t length, std::int64_t window, std::int64_t tile) {
  const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, length - window) / tile : 0;
  return tiles_of(length, tile) - first;
}

class ContextLengths {
 public:
  ContextLengths(const DecodeBatch& batch, std::int64_t window) : batch_(batch) {
    known_ = std::min<std::size_t>(
        {batch.longest.size(), kLongestUsed, static_cast<std::size_t>(batch.sequences)});
    std::int64_t sum = 0, seen = 0;
    for (std::size_t i = 0; i < known_; ++i) {
      sum += length(i);
      seen += window > 0 ? std::min(length(i), window) : length(i);
    }
    others_ = batch.sequences - static_cast<std::int64_t>(known_);
    rest_ = others_ > 0 ? static_cast<double>(batch.kv_tokens - sum) / static_cast<double>(others_) : 0;
    longest_ = known_ > 0 ? length(0) : static_cast<std::int64_t>(std::ceil(rest_));
    const double rest_seen = window > 0 ? std::min(rest_, static_cast<double>(window)) : rest_;
    visible_ = static_cast<double>(seen) + rest_seen * static_cast<double>(others_);
  }
  [[nodiscard]] std::size_t known() const { return known_; }
  [[nodiscard]] std::int64_t length(std::size_t i) const { return batch_.longest[i] + batch_.offset; }
  [[nodiscard]] std::int64_t others() const { return others_; }
  [[nodiscard]] double rest() const { return rest_; }  // mean length of the others
  [[nodiscard]] std::int64_t longest() const { return longest_; }
  [[nodiscard]] double visible() const { return visible_; }  // tokens inside the windows, all sequences
  // Key tiles of the others, on average: lengths that differ end anywhere in their last tile, but none
  // passes the shortest known.
  [[nodiscard]] double rest_tiles(std::int64_t window, std::int64_t tile) const {
    if (known_ == 0 || window > 0)
      return static_cast<double>(window_tiles(static_cast<std::int64_t>(std::ceil(rest_)), window, tile));
    return std::clamp(rest_ / static_cast<double>(tile) + 0.5, 1.0,
                      static_cast<double>(tiles_of(length(known_ - 1), tile)));
  }

 private:
  const DecodeBatch& batch_;
  std::size_t known_ = 0;
  std::int64_t others_ = 0;
  std::int64_t longest_ = 0;
  double rest_ = 0;
  double visible_ = 0;
};

}  // namespace tessera
