// The CTAs of one head of an attention launch, as few lengths with counts, without allocation.
#pragma once

#include <algorithm>
#include <array>

#include "kernels/cost/attention_lengths.hpp"
#include "kernels/cost/attention_queue.hpp"
#include "kernels/tiles/attention_tiles.hpp"

namespace tessera {

class CtaList {
 public:
  static constexpr std::size_t kChunks = 32;      // with lengths of their own; further ones share their mean
  static constexpr std::size_t kChunkGroups = 8;  // lengths that stand for the row blocks of one chunk

  void add(double length, double count) { list_[size_++] = {length, count}; }

  // Row blocks of a chunk, whose tile counts grow from the first to the last, as groups of equal numbers
  // with the tiles of their middle block, scaled to the exact sum. `cta_us` + tiles x `tile_us` each.
  void add_blocks(const CausalBlocks& blocks, std::size_t chunks, double cta_us, double tile_us) {
    const std::int64_t count = blocks.row_blocks();
    const std::int64_t total = blocks.total_tiles();
    if (chunks_++ >= kChunks) {
      rest_count_ += static_cast<double>(count);
      rest_us_ += static_cast<double>(count) * cta_us + static_cast<double>(total) * tile_us;
      return;
    }
    const auto groups = std::clamp<std::int64_t>(static_cast<std::int64_t>(kChunks / chunks), 1,
                                                 std::min<std::int64_t>(kChunkGroups, count));
    std::array<double, kChunkGroups> tiles;
    double sum = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t first = g * count / groups, last = (g + 1) * count / groups - 1;
      tiles[g] = static_cast<double>(blocks.tiles((first + last) / 2));
      sum += tiles[g] * static_cast<double>(last - first + 1);
    }
    const double scale = static_cast<double>(total) / sum;
    for (std::int64_t g = groups; g-- > 0;) {
      const std::int64_t members = (g + 1) * count / groups - g * count / groups;
      add(cta_us + tiles[g] * scale * tile_us, static_cast<double>(members));
    }
  }

  // Descending.
  std::span<const CtaLength> sorted() {
    if (rest_count_ > 0) add(rest_us_ / rest_count_, rest_count_), rest_count_ = 0;
    const auto longer = [](const CtaLength& a, const CtaLength& b) { return a.length > b.length; };
    const auto end = list_.begin() + static_cast<std::ptrdiff_t>(size_);
    if (!std::is_sorted(list_.begin(), end, longer)) std::sort(list_.begin(), end, longer);
    return {list_.data(), size_};
  }

 private:
  std::array<CtaLength, kLongestUsed + 2 + kChunks + kChunkGroups> list_;
  std::size_t size_ = 0;
  std::size_t chunks_ = 0;
  double rest_count_ = 0;
  double rest_us_ = 0;
};

}  // namespace tessera
