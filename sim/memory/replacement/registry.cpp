#include "sim/memory/replacement/registry.hpp"

#include <array>
#include <string>
#include <vector>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "sim/memory/replacement/arc.hpp"
#include "sim/memory/replacement/belady.hpp"
#include "sim/memory/replacement/clock.hpp"
#include "sim/memory/replacement/fifo.hpp"
#include "sim/memory/replacement/gdsf.hpp"
#include "sim/memory/replacement/leaf_first.hpp"
#include "sim/memory/replacement/length_aware.hpp"
#include "sim/memory/replacement/lfu.hpp"
#include "sim/memory/replacement/lirs.hpp"
#include "sim/memory/replacement/lru.hpp"
#include "sim/memory/replacement/random.hpp"
#include "sim/memory/replacement/s3_fifo.hpp"
#include "sim/memory/replacement/sieve.hpp"
#include "sim/memory/replacement/slru.hpp"
#include "sim/memory/replacement/ttl.hpp"
#include "sim/memory/replacement/two_q.hpp"
#include "sim/memory/replacement/w_tinylfu.hpp"

namespace tessera {
namespace {

// A policy whose keys may have sizes ...
template <template <class> class Policy>
constexpr PolicyEntry sized(std::string_view name, std::string_view doc) {
  return {name, doc, replay<Policy<UnitWeights>>, replay<Policy<SizeWeights>>};
}
// ... and one that counts them.
template <class Policy>
constexpr PolicyEntry counting(std::string_view name, std::string_view doc) {
  return {name, doc, replay<Policy>, nullptr};
}
constexpr PolicyEntry timed(PolicyEntry entry) {
  entry.needs_times = true;
  return entry;
}

constexpr std::array kPolicies{
    sized<Fifo>("fifo", "evicts the block inserted longest ago"),
    sized<Lru>("lru", "evicts the block used longest ago"),
    sized<Clock>("clock", "FIFO with a second chance for blocks hit meanwhile"),
    sized<Sieve>("sieve", "FIFO order with a hand that sifts out blocks not hit since its last pass"),
    sized<Lfu>("lfu", "evicts the block used fewest times since it was inserted"),
    counting<Slru>("slru", "four LRU segments; a hit moves a block up one, overflow down one"),
    counting<TwoQ>("2q", "FIFO for newcomers, LRU for blocks missed again soon after leaving it"),
    counting<Arc>("arc", "two LRU lists, seen once and seen again, their split adapted by ghost hits"),
    counting<Lirs>("lirs", "keeps blocks whose last two uses lie close together"),
    counting<S3Fifo>("s3-fifo", "small FIFO 10 %, main FIFO 90 % with reinsertion, ghost FIFO"),
    counting<WTinyLfu>("w-tinylfu", "LRU window of 1 %; a frequency sketch guards the segmented main part"),
    sized<Gdsf>("gdsf", "evicts the least age + uses * cost / size"),
    counting<LengthAware>("length-aware", "evicts the block farthest from the front of its prompt"),
    timed(counting<TimeToLive>("ttl", "LRU; blocks expire when not used for --ttl seconds")),
    counting<LeafFirst>("leaf-first", "LRU among blocks without resident children, as in a radix tree"),
    sized<RandomEviction>("random", "evicts any block, all equally likely"),
    counting<Belady>("belady", "evicts the block used farthest in the future: the bound on hits"),
};

}  // namespace

std::span<const PolicyEntry> replacement_policies() { return kPolicies; }

const PolicyEntry& find_policy(std::string_view name) {
  std::vector<std::string> names;
  for (const PolicyEntry& entry : kPolicies) {
    if (entry.name == name) return entry;
    names.emplace_back(entry.name);
  }
  const std::string unknown(name);
  throw InputError("cache: policy '" + unknown + "' is not known, expected one of " + join(names, ", ") +
                   did_you_mean(unknown, names));
}

}  // namespace tessera
