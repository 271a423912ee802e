#include "sim/memory/hbm/pseudo_channel.hpp"

namespace tessera {
using detail::raise;

HbmPseudoChannel::HbmPseudoChannel(const HbmTicks& ticks) : ticks_(&ticks), stacks_(ticks.stacks) {
  TESSERA_CHECK(stacks_ <= kHbmMaxStacks && ticks.banks <= kHbmMaxBanks, "the banks fit their sets");
  activates_.fill(-ticks.faw);
  for (std::uint32_t bank = 0; bank < ticks.banks; ++bank) {
    Bank& b = banks_[bank];
    b.group = static_cast<std::uint16_t>(bank / ticks.banks_per_group);
    b.stack = static_cast<std::uint16_t>(b.group / ticks.groups_per_stack);
    group_banks_[b.group] |= bit(bank);
  }
  class_of_.fill(kClasses);
  refresh_due = ticks.refi;
}

void HbmPseudoChannel::enter(const HbmSlots& slots, std::uint32_t bank) {
  const Bank& b = banks_[bank];
  class_of_[bank] = kClasses;
  if (!b.hit[mode_].empty())
    enter(slots, bank, hits(mode_, b.stack), b.hit[mode_]);
  else if (!b.wait[mode_].empty())
    enter(slots, bank, is_open(bank) ? kConflict : kClosed, b.wait[mode_]);
}

void HbmPseudoChannel::nobody_ready() {
  for (Class& c : classes_) {
    c.ready = 0, c.first = kHbmNobody;
    c.waiting.clear();
    c.update();
  }
}

void HbmPseudoChannel::await_all(HbmTick now) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    if (class_of_[bank] != kClasses) await(bank, now);
}

void HbmPseudoChannel::serve(const HbmSlots& slots, HbmMode mode, HbmTick now) {
  nobody_ready();
  mode_ = mode;
  for (std::uint32_t stack = 0; stack < stacks_; ++stack) classes_[hits(mode, stack)].hold(turnaround_[mode]);
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) enter(slots, bank);
  if (!refreshing_) await_all(now);
}

void HbmPseudoChannel::begin_refresh() {
  refreshing_ = true;
  nobody_ready();
}

HbmTick HbmPseudoChannel::precharge_all_time() const {
  HbmTick time = 0;
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    if (is_open(bank)) raise(time, times_[kConflict].bank[bank]);
  return time;
}

void HbmPseudoChannel::precharge_all(HbmSlots& slots, HbmTick now) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    if (is_open(bank)) {
      close(slots, bank, now);
      enter(slots, bank);
    }
}

void HbmPseudoChannel::refresh(HbmTick now) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    raise(times_[kClosed].bank[bank], now + ticks_->rfc);
  raise(refresh_ready_, now + ticks_->rfc);
  refresh_due += ticks_->refi;
  refreshing_ = false;
  await_all(now);
}

}  // namespace tessera
