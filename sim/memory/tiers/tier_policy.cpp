#include "sim/memory/tiers/tier_policy.hpp"

#include <array>
#include <type_traits>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "sim/memory/replacement/fifo.hpp"
#include "sim/memory/replacement/length_aware.hpp"
#include "sim/memory/replacement/lfu.hpp"
#include "sim/memory/replacement/lru.hpp"
#include "sim/memory/replacement/s3_fifo.hpp"
#include "sim/memory/replacement/sieve.hpp"
#include "sim/memory/replacement/slru.hpp"

namespace tessera {
namespace {

template <class P>
concept Erases = requires(P policy, std::uint32_t id) {
  policy.erase(id);
};
template <class P>
concept GoesTo = requires(P policy, std::uint32_t position) {
  policy.go_to(position);
};

// Whether it knows blocks again that it evicted, at most as many as it holds.
template <class P>
constexpr bool kRemembers = std::is_same_v<P, S3Fifo>;

template <class P>
class PolicyOf final : public TierPolicy {
 public:
  explicit PolicyOf(const CacheSetup& setup) : policy_(setup) {}
  [[nodiscard]] bool contains(std::uint32_t id) const override { return policy_.contains(id); }
  void access(std::uint32_t id, std::uint32_t position) override {
    if constexpr (GoesTo<P>) policy_.go_to(position);
    static_cast<void>(position);
    policy_.access(id);
  }
  std::uint32_t evict() override { return policy_.evict(); }
  void erase(std::uint32_t id) override {
    if constexpr (Erases<P>)
      policy_.erase(id);
    else
      TESSERA_CHECK(id != id, "an exclusive tier has a policy that can erase");
  }
  void forget(std::uint32_t id) override {
    // What comes back is remembered no longer, and what is erased is not remembered.
    if constexpr (kRemembers<P>) policy_.access(id), policy_.erase(id);
    static_cast<void>(id);
  }

 private:
  P policy_;
};

template <class P>
std::unique_ptr<TierPolicy> make(std::uint32_t ids, std::uint32_t capacity) {
  CacheSetup setup;
  setup.capacity = capacity;
  setup.distinct = ids;
  return std::make_unique<PolicyOf<P>>(setup);
}

template <class P>
constexpr TierPolicyEntry entry(const char* name) {
  return {name, Erases<P>, kRemembers<P>, make<P>};
}

constexpr std::array kPolicies{
    entry<Lru<>>("lru"),
    entry<Fifo<>>("fifo"),
    entry<Sieve<>>("sieve"),
    entry<Lfu<>>("lfu"),
    entry<Slru>("slru"),
    entry<S3Fifo>("s3-fifo"),
    entry<LengthAware>("length-aware"),
};

}  // namespace

std::vector<std::string> tier_policy_names() {
  std::vector<std::string> names;
  for (const TierPolicyEntry& one : kPolicies) names.emplace_back(one.name);
  return names;
}

const TierPolicyEntry& find_tier_policy(const std::string& name) {
  for (const TierPolicyEntry& one : kPolicies)
    if (name == one.name) return one;
  throw InputError("tier policy '" + name + "' is not known, expected one of " +
                   join(tier_policy_names(), ", ") + did_you_mean(name, tier_policy_names()));
}

}  // namespace tessera
