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

void RegionKv::arrive(Slot slot, std::int64_t input, std::int64_t output, std::span<const std::uint64_t>) {
  if (slot >= holders_.size()) holders_.resize(slot + 1);
  holders_[slot] = {region_tokens(input, output), input + output - 1, {}};
}

std::optional<std::int64_t> RegionKv::admit(Slot slot, std::int64_t, std::int64_t) {
  Holder& holder = holders_[slot];
  const auto region = memory_.take(holder.size);
  if (!region) return std::nullopt;
  holder.region = *region;
  last_ += holder.last;
  return 0;
}

void RegionKv::leave(Slot slot, std::int64_t, bool) {
  memory_.give_back(holders_[slot].region);
  last_ -= holders_[slot].last;
}

KvUse RegionKv::use(std::int64_t resident, bool waits) const {
  KvUse use;
  use.used_blocks = ceil_div(memory_.held(), spec_.block_tokens);
  use.held_slots = memory_.held();
  use.resident = resident;
  use.reserved = last_ - resident;
  use.external = waits ? memory_.capacity() - memory_.held() : 0;
  return use;
}

}  // namespace tessera
