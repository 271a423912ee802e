// Contiguous regions of a memory by the buddy system: sizes are powers of two, a region is split in halves
// until it fits and merges with its other half when both are free. The lowest free address is taken first.
//
// A capacity that is no power of two is a row of arenas of falling powers (15,728 = 8192 + 4096 + 2048 + …),
// each aligned to its size, so that `offset ^ size` names the other half and never crosses an arena.
// What a region has beyond what was asked for is internal waste; free space no request fits into, external.
// Source: Knowlton 1965; Orca-type engines give KV memory out this way (arXiv 2309.06180 section 6.1).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

namespace tessera {

class BuddyMemory {
 public:
  struct Region {
    std::int64_t offset = 0;
    std::int64_t size = 0;
  };

  explicit BuddyMemory(std::int64_t capacity);

  // A region of at least `size` > 0 units, or nothing if no free region is large enough.
  std::optional<Region> take(std::int64_t size);
  void give_back(Region region);

  [[nodiscard]] std::int64_t capacity() const { return capacity_; }
  [[nodiscard]] std::int64_t held() const { return held_; }  // units of regions given out
  // The largest region an empty memory can give.
  [[nodiscard]] std::int64_t largest() const;
  // What a request of this size occupies.
  static std::int64_t rounded(std::int64_t size);

 private:
  std::int64_t capacity_;
  std::int64_t held_ = 0;
  std::vector<std::set<std::int64_t>> free_;  // [log2 size] offsets
};

}  // namespace tessera
