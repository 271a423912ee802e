#include "sim/memory/buddy.hpp"

#include <algorithm>
#include <bit>

#include "models/base/check.hpp"

namespace tessera {
namespace {

std::size_t order_of(std::int64_t size) {
  return static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(size)) - 1);
}

}  // namespace

BuddyMemory::BuddyMemory(std::int64_t capacity) : capacity_(capacity), free_(order_of(capacity) + 1) {
  TESSERA_CHECK(capacity > 0, "a memory has room");
  std::int64_t offset = 0;
  for (std::size_t order = free_.size(); order-- > 0;) {
    const std::int64_t size = std::int64_t{1} << order;
    if ((capacity & size) == 0) continue;
    free_[order].insert(offset);
    offset += size;
  }
}

std::int64_t BuddyMemory::rounded(std::int64_t size) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(size)));
}

std::int64_t BuddyMemory::largest() const { return std::int64_t{1} << (free_.size() - 1); }

std::optional<BuddyMemory::Region> BuddyMemory::take(std::int64_t size) {
  TESSERA_CHECK(size > 0, "a region has room");
  const std::size_t wanted = order_of(rounded(size));
  std::size_t order = wanted;
  while (order < free_.size() && free_[order].empty()) ++order;
  if (order >= free_.size()) return std::nullopt;
  const std::int64_t offset = *free_[order].begin();
  free_[order].erase(free_[order].begin());
  while (order > wanted) {
    --order;
    free_[order].insert(offset + (std::int64_t{1} << order));
  }
  const Region region{offset, std::int64_t{1} << wanted};
  held_ += region.size;
  return region;
}

void BuddyMemory::give_back(Region region) {
  held_ -= region.size;
  TESSERA_CHECK(held_ >= 0, "a region was given back more often than it was taken");
  std::size_t order = order_of(region.size);
  std::int64_t offset = region.offset;
  for (; order + 1 < free_.size(); ++order) {
    const auto other = free_[order].find(offset ^ (std::int64_t{1} << order));
    if (other == free_[order].end()) break;
    offset = std::min(offset, *other);
    free_[order].erase(other);
  }
  const bool fresh = free_[order].insert(offset).second;
  TESSERA_CHECK(fresh, "a region was given back more often than it was taken");
  static_cast<void>(fresh);
}

}  // namespace tessera
