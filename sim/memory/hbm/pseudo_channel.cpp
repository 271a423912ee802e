#include "sim/memory/hbm/pseudo_channel.hpp"

namespace tessera {
namespace {

void raise(HbmTick& earliest, HbmTick to) { earliest = std::max(earliest, to); }

}  // namespace

HbmPseudoChannel::HbmPseudoChannel(const HbmTicks& ticks) : ticks_(&ticks) {
  activates_.fill(-ticks.faw);
  for (std::uint32_t bank = 0; bank < ticks.banks; ++bank) {
    banks_[bank].group = static_cast<std::uint8_t>(bank / ticks.banks_per_group);
    banks_[bank].stack = static_cast<std::uint8_t>(banks_[bank].group / ticks.groups_per_stack);
  }
  refresh_due = ticks.refi;
}

// Puts a bank into the order its requests of the served kind call for, and offers it.
void HbmPseudoChannel::place(const HbmSlots& slots, std::uint32_t bank) {
  Bank& b = banks_[bank];
  const HbmList& hit = b.hit[mode_];
  const HbmList& wait = b.wait[mode_];
  if (!hit.empty()) {
    const std::uint64_t age = slots[hit.head].age;
    b.order = Order::hit;
    by_hit_.insert(bank, age);
    column_.add(column_ready(bank), age, bank);
  } else if (wait.empty()) {
    b.order = Order::none;
  } else if (const std::uint64_t age = slots[wait.head].age; b.open) {
    b.order = Order::conflict;
    by_conflict_.insert(bank, age);
    precharge_.add(b.precharge_ready, age, bank);
  } else {
    b.order = Order::closed;
    by_closed_.insert(bank, age);
    activate_.add(activate_ready(bank), age, bank);
  }
}

void HbmPseudoChannel::displace(std::uint32_t bank) {
  switch (banks_[bank].order) {
    case Order::none:
      return;
    case Order::hit:
      by_hit_.erase(bank);
      column_.remove(bank);
      return;
    case Order::closed:
      by_closed_.erase(bank);
      activate_.remove(bank);
      return;
    case Order::conflict:
      by_conflict_.erase(bank);
      precharge_.remove(bank);
      return;
  }
}

void HbmPseudoChannel::serve(const HbmSlots& slots, HbmMode mode) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) displace(bank);
  mode_ = mode;
  column_.forget();
  activate_.forget();
  precharge_.forget();
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) place(slots, bank);
}

void HbmPseudoChannel::enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode) {
  Bank& b = banks_[bank];
  const bool hits = b.open && b.row == slots[id].row;
  HbmList& list = hits ? b.hit[mode] : b.wait[mode];
  const bool first = list.empty();
  list.append(slots, id);
  // Only the heads of lists decide where a bank stands, and its hits come before its other requests.
  if (!first || mode != mode_ || (!hits && b.order == Order::hit)) return;
  displace(bank);
  place(slots, bank);
}

HbmSlots::Id HbmPseudoChannel::column(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  Bank& b = banks_[bank];
  displace(bank);
  for (std::uint32_t s = 0; s < ticks_->stacks; ++s)
    raise(stack_column_[mode_][s], now + (s == b.stack ? ticks_->ccd_short : ticks_->ccd_stack));
  raise(group_column_[mode_][b.group], now + ticks_->ccd_long);
  if (mode_ == kHbmWrite) {
    for (std::uint32_t s = 0; s < ticks_->stacks; ++s)
      raise(stack_column_[kHbmRead][s], now + ticks_->write_to_read_short);
    raise(group_column_[kHbmRead][b.group], now + ticks_->write_to_read_long);
    raise(b.precharge_ready, now + ticks_->write_to_precharge);
  } else {
    for (std::uint32_t s = 0; s < ticks_->stacks; ++s)
      raise(stack_column_[kHbmWrite][s], now + ticks_->read_to_write);
    raise(b.precharge_ready, now + ticks_->read_to_precharge);
  }
  const HbmSlots::Id id = b.hit[mode_].pop(slots);
  column_.forget();
  place(slots, bank);
  return id;
}

HbmSlots::Id HbmPseudoChannel::activate(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  Bank& b = banks_[bank];
  displace(bank);
  activates_[oldest_activate_] = now;
  oldest_activate_ = (oldest_activate_ + 1) % 4;
  activate_from_ = std::max(now + ticks_->rrd_short, activates_[oldest_activate_] + ticks_->faw);
  raise(group_activate_[b.group], now + ticks_->rrd_long);
  raise(b.activate_ready, now + ticks_->rc);
  raise(b.precharge_ready, now + ticks_->ras);
  raise(b.column_ready[kHbmRead], now + ticks_->rcd[kHbmRead]);
  raise(b.column_ready[kHbmWrite], now + ticks_->rcd[kHbmWrite]);

  const HbmSlots::Id asker = b.wait[mode_].head;
  b.open = true;
  b.row = slots[asker].row;
  ++open_banks_;
  for (const HbmMode m : {kHbmRead, kHbmWrite})
    if (!b.wait[m].empty()) split_row(slots, b.wait[m], b.hit[m], b.row);
  activate_.forget();
  place(slots, bank);
  return asker;
}

// The bank's order is for the caller to take and give.
void HbmPseudoChannel::close(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  Bank& b = banks_[bank];
  raise(b.activate_ready, now + ticks_->rp);
  b.open = false;
  --open_banks_;
  for (const HbmMode m : {kHbmRead, kHbmWrite})
    if (!b.hit[m].empty()) merge_by_age(slots, b.hit[m], b.wait[m]);
}

void HbmPseudoChannel::precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  displace(bank);
  close(slots, bank, now);
  place(slots, bank);
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
    if (banks_[bank].open) precharge(slots, bank, now);
}

void HbmPseudoChannel::refresh(HbmTick now) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank)
    raise(banks_[bank].activate_ready, now + ticks_->rfc);
  refresh_due += ticks_->refi;
  refreshing = false;
  activate_.forget();
}

}  // namespace tessera
