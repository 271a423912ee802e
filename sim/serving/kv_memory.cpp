#include "sim/serving/kv_memory.hpp"

#include "sim/serving/kv_grouped.hpp"
#include "sim/serving/kv_paged.hpp"
#include "sim/serving/kv_regions.hpp"

namespace tessera {

std::unique_ptr<KvMemory> make_kv_memory(const KvMemorySpec& spec) {
  if (spec.plan != nullptr) return std::make_unique<GroupedKv>(spec);
  if (spec.allocator == KvAllocator::paged) return std::make_unique<PagedKv>(spec);
  return std::make_unique<RegionKv>(spec);
}

}  // namespace tessera
