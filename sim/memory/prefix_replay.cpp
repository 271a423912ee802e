#include "sim/memory/prefix_replay.hpp"

#include <chrono>
#include <vector>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "sim/memory/replacement/registry.hpp"

namespace tessera {
namespace {

// By id: one more than the place where the block first stood in a prompt, so that a block's cost grows
// with what its recomputation has to attend to.
std::vector<std::uint32_t> depths(const DenseTrace& trace) {
  std::vector<std::uint32_t> costs(trace.distinct(), 0);
  for (std::size_t i = 0; i < trace.requests(); ++i) {
    std::uint32_t depth = 0;
    for (const std::uint32_t id : trace.request(i)) {
      ++depth;
      if (costs[id] == 0) costs[id] = depth;
    }
  }
  return costs;
}

void check(const PolicyEntry& policy, const DenseTrace& trace, std::int64_t capacity,
           const ReplayOptions& options) {
  const std::string name(policy.name);
  if (capacity < 1) throw InputError("cache: 0 blocks hold nothing, expected at least 1");
  if (trace.references().size() >= ~std::uint32_t{0})
    throw InputError("cache: the trace is too long, expected fewer than 4,294,967,295 references");
  if (policy.needs_times && !trace.has_times() && trace.requests() > 0)
    throw InputError("cache: policy " + name + " needs a clock, but the trace has no times");
  const bool sizes = options.bytes || options.cost == ReplayOptions::Cost::size;
  if (sizes && trace.sizes().empty() && trace.requests() > 0)
    throw InputError("cache: blocks have no sizes of their own, expected a key trace");
  if (options.bytes && policy.replay_bytes == nullptr) {
    std::vector<std::string> others;
    for (const PolicyEntry& other : replacement_policies())
      if (other.replay_bytes != nullptr) others.emplace_back(other.name);
    throw InputError("cache: policy " + name +
                     " counts blocks and cannot fill a capacity in bytes, expected one of " +
                     join(others, ", "));
  }
}

}  // namespace

CacheResult replay(std::string_view policy, const DenseTrace& trace, std::int64_t capacity,
                   const ReplayOptions& options) {
  const PolicyEntry& entry = find_policy(policy);
  check(entry, trace, capacity, options);
  CacheSetup setup;
  setup.capacity = capacity;
  setup.distinct = trace.distinct();
  setup.future = trace.references();
  setup.time_to_live = options.time_to_live_ns;
  setup.seed = options.seed;
  std::vector<std::uint32_t> by_depth;
  if (options.bytes) setup.sizes = trace.sizes();
  if (options.cost == ReplayOptions::Cost::size) setup.costs = trace.sizes();
  if (options.cost == ReplayOptions::Cost::depth) setup.costs = by_depth = depths(trace);

  const auto begin = std::chrono::steady_clock::now();
  CacheResult result =
      (options.bytes && !setup.sizes.empty() ? entry.replay_bytes : entry.replay)(trace, setup);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  result.policy = policy;
  result.requests_per_s = took.count() > 0 ? static_cast<double>(result.requests) / took.count() : 0;
  return result;
}

}  // namespace tessera
