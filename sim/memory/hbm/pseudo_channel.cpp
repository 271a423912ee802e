#include "sim/memory/hbm/pseudo_channel.hpp"

namespace tessera {
using detail::raise;

HbmPseudoChannel::HbmPseudoChannel(const HbmTicks& ticks) : ticks_(&ticks) {
  activates_.fill(-ticks.faw);
  for (std::uint32_t bank = 0; bank < ticks.banks; ++bank) {
    banks_[bank].group = static_cast<std::uint8_t>(bank / ticks.banks_per_group);
    banks_[bank].stack = static_cast<std::uint8_t>(banks_[bank].group / ticks.groups_per_stack);
  }
  refresh_due = ticks.refi;
}

void HbmPseudoChannel::serve(const HbmSlots& slots, HbmMode mode) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) displace(bank);
  mode_ = mode;
  column_.forget();
  activate_.forget();
  precharge_.forget();
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) place(slots, bank);
}

HbmTick HbmPseudoChannel::precharge_all_time() const {
  HbmTick time = 0;
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    if (banks_[bank].open) raise(time, banks_[bank].precharge_ready);
  return time;
}

HbmTick HbmPseudoChannel::refresh_time() const {
  HbmTick time = 0;
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) raise(time, banks_[bank].activate_ready);
  return time;
}

void HbmPseudoChannel::precharge_all(HbmSlots& slots, HbmTick now) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    if (banks_[bank].open) {
      displace(bank);
      close(slots, bank, now);
      place(slots, bank);
    }
}

void HbmPseudoChannel::refresh(HbmTick now) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    raise(banks_[bank].activate_ready, now + ticks_->rfc);
  refresh_due += ticks_->refi;
  refreshing = false;
  activate_.forget();
}

}  // namespace tessera
