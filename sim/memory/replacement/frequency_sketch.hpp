// How often a key was seen lately, from a count-min sketch of four-bit counters (Cormode, Muthukrishnan,
// 2005), with the ageing of TinyLFU: after ten times `capacity` additions every counter is halved
// (Einziger, Friedman, Manes, ACM TOS 13(4), 2017). Sixteen counters for each key of the capacity, as in
// Caffeine. All four counters of a key lie in one cache line: the line is chosen by hash, then one of 32
// counters in each quarter of it. Never too low but for ageing; too high where keys share counters.
#pragma once

#include <algorithm>
#include <array>
#include <bit>

#include "sim/memory/block_hash.hpp"
#include "sim/memory/huge_pages.hpp"

namespace tessera {

class FrequencySketch {
 public:
  static constexpr std::uint32_t kMost = 15;

  explicit FrequencySketch(std::int64_t capacity)
      : lines_(std::bit_ceil(static_cast<std::size_t>(capacity) / kKeysPerLine + 1)),
        mask_(lines_.size() - 1),
        until_ageing_(10 * capacity),
        period_(10 * capacity) {}

  void prefetch(std::uint32_t id) const { __builtin_prefetch(&lines_[hash(id) & mask_], 1); }

  [[nodiscard]] std::uint32_t estimate(std::uint32_t id) const {
    const std::uint64_t h = hash(id);
    const Line& line = lines_[h & mask_];
    std::uint32_t least = kMost;
    for (unsigned row = 0; row < kRows; ++row) {
      const Place at = place(h, row);
      least = std::min(least, static_cast<std::uint32_t>(line[at.word] >> at.shift) & kMost);
    }
    return least;
  }

  void add(std::uint32_t id) {
    const std::uint64_t h = hash(id);
    Line& line = lines_[h & mask_];
    std::uint64_t added = 0;
    for (unsigned row = 0; row < kRows; ++row) {
      const Place at = place(h, row);
      const std::uint64_t more = (line[at.word] >> at.shift & kMost) != kMost ? 1 : 0;
      line[at.word] += more << at.shift;
      added |= more;
    }
    if (added != 0 && --until_ageing_ == 0) age();
  }

 private:
  static constexpr std::size_t kKeysPerLine = 8;
  static constexpr unsigned kRows = 4;
  using Line = std::array<std::uint64_t, 8>;  // 128 counters in 64 bytes
  struct Place {
    unsigned word;
    unsigned shift;
  };

  static std::uint64_t hash(std::uint32_t id) { return mix64(id + 0x9E3779B97F4A7C15); }
  // Row r owns words 2r and 2r + 1; five bits of the hash's upper end pick one of its 32 counters.
  static Place place(std::uint64_t h, unsigned row) {
    const auto bits = static_cast<unsigned>(h >> (44 + 5 * row)) & 31U;
    return {2 * row + (bits >> 4U), (bits & 15U) * 4};
  }
  void age() {
    for (Line& line : lines_)
      for (std::uint64_t& word : line) word = word >> 1U & 0x7777'7777'7777'7777;
    until_ageing_ = period_ - period_ / 2;  // half of the additions are forgotten
  }

  HugeVector<Line> lines_;
  std::size_t mask_;
  std::int64_t until_ageing_;
  std::int64_t period_;
};

}  // namespace tessera
