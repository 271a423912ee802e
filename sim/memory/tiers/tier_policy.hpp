// The replacement policies a tier may use, by name: those of sim/memory/replacement whose rule can be asked
// for a victim (evict) and, for exclusive tiers, told that a block has left (erase). One line each in
// tier_policy.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tessera {

class TierPolicy {
 public:
  virtual ~TierPolicy() = default;
  [[nodiscard]] virtual bool contains(std::uint32_t id) const = 0;
  // Touches a resident block or inserts one there is room for. `position`: blocks before it in its prompt.
  virtual void access(std::uint32_t id, std::uint32_t position) = 0;
  virtual std::uint32_t evict() = 0;  // of one that is not empty
  virtual void erase(std::uint32_t id) = 0;
  // An absent id will name another block: what is remembered of the one before goes. There is room for one.
  virtual void forget(std::uint32_t id) = 0;
};

struct TierPolicyEntry {
  const char* name;
  bool can_erase;
  bool remembers;  // blocks it evicted, at most as many as it holds
  std::unique_ptr<TierPolicy> (*make)(std::uint32_t ids, std::uint32_t capacity);
};

std::vector<std::string> tier_policy_names();
const TierPolicyEntry& find_tier_policy(const std::string& name);  // of those names

}  // namespace tessera
