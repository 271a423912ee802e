#include "sim/serving/kv_regions.hpp"

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {

RegionKv::RegionKv(const KvMemorySpec& spec) : spec_(spec), memory_(spec.kv_blocks * spec.block_tokens) {
  TESSERA_CHECK(spec.allocator != KvAllocator::contiguous_max || spec.max_model_len > 0,
                "the longest request is known");
}

std::int64_t RegionKv::region_tokens(std::int64_t input, std::int64_t output) const {
  switch (spec_.allocator) {
    case KvAllocator::contiguous_max:
      return spec_.max_model_len;
    case KvAllocator::contiguous_pow2:
      return input + BuddyMemory::rounded(output);
    default:
      return input + output - 1;  // the last token is never stored
  }
}

std::string RegionKv::refusal(std::int64_t input, std::int64_t output) const {
  const std::int64_t size = region_tokens(input, output);
  return BuddyMemory::rounded(size) > memory_.largest()
             ? "needs a larger region than the engine has (engine.max_model_len bounds it)"
             : "";
}

void RegionKv::arrive(Slot slot, std::int64_t input, std::int64_t output,
                      std::span<const std::uint64_t> hashes) {
  if (slot >= holders_.size()) holders_.resize(slot + 1);
  holders_[slot] = {region_tokens(input, output), input + output - 1, {}};
  copies_.arrive(slot, hashes);
}

std::optional<std::int64_t> RegionKv::admit(Slot slot, std::int64_t, std::int64_t) {
  Holder& holder = holders_[slot];
  const auto region = memory_.take(holder.size);
  if (!region) return std::nullopt;
  holder.region = *region;
  last_ += holder.last;
  return 0;
}

bool RegionKv::extend(Slot slot, std::int64_t, std::int64_t after, std::int64_t) {
  copies_.hold(slot, after / spec_.block_tokens);
  return true;
}

void RegionKv::leave(Slot slot, std::int64_t, bool) {
  memory_.give_back(holders_[slot].region);
  holders_[slot].region = {};
  copies_.leave(slot);
  last_ -= holders_[slot].last;
}

KvUse RegionKv::use(std::int64_t resident, bool waits) const {
  KvUse use;
  use.used_blocks = ceil_div(memory_.held(), spec_.block_tokens);
  use.held_slots = memory_.held();
  use.resident = resident;
  use.reserved = last_ - resident;
  use.external = waits ? memory_.capacity() - memory_.held() : 0;
  use.duplicate = copies_.duplicates() * spec_.block_tokens;
  return use;
}

// A cell is block_tokens slots wide; where regions are smaller, the first of several names it.
void RegionKv::show(std::span<BlockCell> cells) const {
  for (Slot slot = 0; slot < holders_.size(); ++slot) {
    const BuddyMemory::Region& region = holders_[slot].region;
    if (region.size == 0) continue;
    const std::int64_t last = (region.offset + region.size - 1) / spec_.block_tokens;
    for (std::int64_t i = region.offset / spec_.block_tokens; i <= last; ++i) {
      BlockCell& cell = cells[static_cast<std::size_t>(i)];
      if (cell.users++ == 0) cell.holder = slot;
      cell.state = BlockCell::State::held;
    }
  }
}

}  // namespace tessera
