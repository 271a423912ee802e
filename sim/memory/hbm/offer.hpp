// Which of many waiting banks goes next: the one that can start first, and of those the oldest.
//
// HbmBankOrder keeps banks in a list by the age of the request they wait for. The search walks from the
// oldest on and stops at the first bank that can start at once; under load that is one of the first few.
// HbmOffer remembers the answer. It holds as long as its time has not passed: later starts cannot be beaten
// by banks that were not ready at it, and a bank that joins the order is compared with it. Past its time the
// same bank goes, late, until one that has waited longer is ready too: the search notes when.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "sim/memory/hbm/ticks.hpp"

namespace tessera {

inline constexpr std::uint32_t kHbmMaxBanks = 64;  // of a pseudo-channel

struct HbmOffer {
  static constexpr HbmTick kUnknown = -1;
  HbmTick time = kUnknown;  // kHbmNever: nobody waits
  HbmTick from = 0;         // earliest start that was asked for
  HbmTick older = 0;        // no bank with an older request is ready before this
  std::uint64_t age = 0;
  std::uint32_t bank = 0;

  void forget() { time = kUnknown, older = 0; }
  // Whether it also answers for starts at `at` or later; its time follows.
  bool holds(HbmTick at) {
    if (time >= at) return true;
    if (at >= older) return false;
    time = from = at;
    return true;
  }
  void add(HbmTick ready, std::uint64_t its_age, std::uint32_t its_bank) {
    if (time == kUnknown) return;
    const HbmTick start = ready > from ? ready : from;
    if (start < time || (start == time && its_age < age)) {
      // The bank that stood here may be the older of the two, ready later.
      older = start < time ? std::min(older, time) : older;
      time = start;
      age = its_age;
      bank = its_bank;
    } else if (its_age < age) {
      older = std::min(older, start);
    }
  }
  void remove(std::uint32_t its_bank) {
    if (bank == its_bank && time != kHbmNever) forget();
  }
};

class HbmBankOrder {
 public:
  HbmBankOrder() { next_[kEnd] = prev_[kEnd] = kEnd; }

  void insert(std::uint32_t bank, std::uint64_t age) {
    age_[bank] = age;
    std::uint32_t before = prev_[kEnd];  // newcomers are young
    while (before != kEnd && age_[before] > age) before = prev_[before];
    link(before, bank, next_[before]);
  }
  void erase(std::uint32_t bank) {
    next_[prev_[bank]] = next_[bank];
    prev_[next_[bank]] = prev_[bank];
  }
  // `ready(bank)` is when the bank could start if nothing else kept it.
  template <class Ready>
  void search(HbmTick from, HbmOffer& offer, Ready ready) const {
    offer.from = from;
    offer.time = offer.older = kHbmNever;
    for (std::uint32_t bank = next_[kEnd]; bank != kEnd; bank = next_[bank]) {
      const HbmTick at = ready(bank);
      if (at >= offer.time) continue;
      offer.older = offer.time;  // the least of the banks passed over
      offer.time = at > from ? at : from;
      offer.age = age_[bank];
      offer.bank = bank;
      if (at <= from) return;
    }
  }

 private:
  static constexpr std::uint32_t kEnd = kHbmMaxBanks;

  void link(std::uint32_t before, std::uint32_t bank, std::uint32_t after) {
    prev_[bank] = static_cast<std::uint8_t>(before);
    next_[bank] = static_cast<std::uint8_t>(after);
    next_[before] = prev_[after] = static_cast<std::uint8_t>(bank);
  }

  std::array<std::uint8_t, kHbmMaxBanks + 1> next_{}, prev_{};
  std::array<std::uint64_t, kHbmMaxBanks> age_{};
};

}  // namespace tessera
