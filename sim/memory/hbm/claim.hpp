// Which of many waiting banks goes next: the one that can start first, and of those the oldest.
//
// Whether a bank beats the best so far is close to a coin toss, and a mispredicted branch costs more than the
// comparison. So a bank's claim is one number - when it can start, age of the request it waits for, which
// bank - and a search is a chain of minima without branches over a bit mask of banks. Times in claims count
// from an epoch that the channel moves on now and then.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "sim/memory/hbm/ticks.hpp"

namespace tessera {

using HbmClaim = std::uint64_t;  // from the top: 24 bits of time, 33 of age, 1 of pseudo-channel, 6 of bank

inline constexpr HbmClaim kHbmNobody = ~HbmClaim{0};
inline constexpr unsigned kHbmClaimTag = 40;  // bits below the time
inline constexpr HbmTick kHbmClaimTimes = HbmTick{1} << (64 - kHbmClaimTag);
inline constexpr std::uint64_t kHbmClaimAges = std::uint64_t{1} << 33U;

constexpr HbmClaim hbm_tag(std::uint64_t age, std::uint32_t half, std::uint32_t bank) {
  return age << 7U | half << 6U | bank;
}
constexpr HbmClaim hbm_claim(HbmTick since_epoch, HbmClaim tag) {
  return static_cast<HbmClaim>(since_epoch) << kHbmClaimTag | tag;
}
constexpr HbmTick since_epoch(HbmClaim claim) { return static_cast<HbmTick>(claim >> kHbmClaimTag); }
constexpr std::uint32_t half_of(HbmClaim claim) { return claim >> 6U & 1U; }
constexpr std::uint32_t bank_of(HbmClaim claim) { return claim & 63U; }

using HbmBankTimes = std::array<HbmTick, kHbmMaxBanks>;

// The best claim of `banks`, none of which may start before `from`. `ready`: when a bank could start if
// nothing else kept it.
inline HbmClaim best_claim(std::uint64_t banks, const HbmBankTimes& ready, HbmTick from, HbmTick epoch,
                           const std::array<HbmClaim, kHbmMaxBanks>& tags) {
  HbmClaim best = kHbmNobody;
  for (; banks != 0; banks &= banks - 1) {
    const auto bank = static_cast<std::size_t>(std::countr_zero(banks));
    best = std::min(best, hbm_claim(std::max(ready[bank], from) - epoch, tags[bank]));
  }
  return best;
}

}  // namespace tessera
