#include "sim/memory/prefix_replay.hpp"

#include <array>
#include <chrono>
#include <vector>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "sim/memory/lru.hpp"

namespace tessera {
namespace {

// A new policy is one header and one line here.
constexpr std::array kPolicies{
    PolicyEntry{"lru", "evicts the block used longest ago", replay<Lru>},
};

}  // namespace

std::span<const PolicyEntry> replacement_policies() { return kPolicies; }

CacheResult replay(std::string_view policy, const DenseTrace& trace, std::uint32_t blocks) {
  if (blocks == 0) throw InputError("cache: 0 blocks hold nothing, expected at least 1");
  std::vector<std::string> names;
  for (const PolicyEntry& entry : kPolicies) {
    if (entry.name != policy) {
      names.emplace_back(entry.name);
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    CacheResult result = entry.replay(trace, blocks);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    result.policy = policy;
    result.requests_per_s = took.count() > 0 ? static_cast<double>(result.requests) / took.count() : 0;
    return result;
  }
  const std::string unknown(policy);
  throw InputError("cache: policy '" + unknown + "' is not known, expected one of " + join(names, ", ") +
                   did_you_mean(unknown, names));
}

}  // namespace tessera
