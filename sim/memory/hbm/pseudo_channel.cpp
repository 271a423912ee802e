#include "sim/memory/hbm/pseudo_channel.hpp"

namespace tessera {
using detail::raise;

HbmPseudoChannel::HbmPseudoChannel(const HbmTicks& ticks, std::uint32_t index)
    : ticks_(&ticks), index_(index) {
  activates_.fill(-ticks.faw);
  for (std::uint32_t bank = 0; bank < ticks.banks; ++bank) {
    const std::uint32_t group = bank / ticks.banks_per_group;
    banks_[bank].group_begin = group * ticks.banks_per_group;
    banks_[bank].stack = group / ticks.groups_per_stack;
    stack_banks_[banks_[bank].stack] |= bit(bank);
  }
  refresh_due = ticks.refi;
}

void HbmPseudoChannel::enter(const HbmSlots& slots, std::uint32_t bank) {
  const Bank& b = banks_[bank];
  if (!b.hit[mode_].empty())
    enter_hits(slots, bank);
  else if (b.wait[mode_].empty())
    return;
  else if (is_open(bank))
    enter_conflicts(slots, bank);
  else
    enter_closed(slots, bank);
}

void HbmPseudoChannel::renew_all(const HbmBusTimes& bus) {
  if (refreshing_) return;
  search_column(bus);
  search_activate(bus);
  search_precharge(bus);
}

void HbmPseudoChannel::serve(const HbmSlots& slots, HbmMode mode, const HbmBusTimes& bus) {
  mode_ = mode;
  hits_ = closed_ = conflicts_ = 0;
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) enter(slots, bank);
  renew_all(bus);
}

void HbmPseudoChannel::begin_refresh() {
  refreshing_ = true;
  column_ = activate_ = precharge_ = kHbmNobody;
}

HbmTick HbmPseudoChannel::precharge_all_time() const {
  HbmTick time = 0;
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    if (is_open(bank)) raise(time, precharge_ready_[bank]);
  return time;
}

void HbmPseudoChannel::precharge_all(HbmSlots& slots, HbmTick now) {
  hits_ = conflicts_ = 0;
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    if (is_open(bank)) {
      close(slots, bank, now);
      enter(slots, bank);
    }
}

void HbmPseudoChannel::refresh(HbmTick now, const HbmBusTimes& bus) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) raise(activate_ready_[bank], now + ticks_->rfc);
  raise(refresh_ready_, now + ticks_->rfc);
  refresh_due += ticks_->refi;
  refreshing_ = false;
  renew_all(bus);
}

}  // namespace tessera
