#include "sim/serving/kv_memory.hpp"

#include "sim/serving/kv_branched.hpp"
#include "sim/serving/kv_grouped.hpp"
#include "sim/serving/kv_mapped.hpp"
#include "sim/serving/kv_paged.hpp"
#include "sim/serving/kv_radix.hpp"
#include "sim/serving/kv_regions.hpp"

namespace tessera {

std::unique_ptr<KvMemory> make_kv_memory(const KvMemorySpec& spec) {
  if (spec.plan != nullptr) return std::make_unique<GroupedKv>(spec);
  if (spec.branches > 1) return std::make_unique<BranchedKv>(spec);
  if (spec.allocator == KvAllocator::mapped) return std::make_unique<MappedKv>(spec);
  if (spec.allocator != KvAllocator::paged) return std::make_unique<RegionKv>(spec);
  if (spec.radix) return std::make_unique<RadixKv>(spec);
  return std::make_unique<PagedKv>(spec);
}

}  // namespace tessera
