#include "sim/memory/hbm/pseudo_channel.hpp"

namespace tessera {
namespace {

constexpr std::uint64_t bit(std::uint32_t bank) { return std::uint64_t{1} << bank; }

template <class See>
void for_each_bank(std::uint64_t banks, See see) {
  for (; banks != 0; banks &= banks - 1) see(static_cast<std::uint32_t>(std::countr_zero(banks)));
}

void raise(HbmTick& earliest, HbmTick to) { earliest = std::max(earliest, to); }

}  // namespace

HbmPseudoChannel::HbmPseudoChannel(const HbmTicks& ticks) : ticks_(&ticks) {
  activates_.fill(-ticks.faw);
  for (std::uint32_t bank = 0; bank < ticks.banks; ++bank)
    group_[bank] = static_cast<std::uint8_t>(bank / ticks.banks_per_group);
  refresh_due = ticks.refi;
}

void HbmPseudoChannel::note_heads(const HbmSlots& slots, std::uint32_t bank, HbmMode mode) {
  const HbmList& hit = hit_[mode][bank];
  const HbmList& wait = wait_[mode][bank];
  hits_[mode] = hit.empty() ? hits_[mode] & ~bit(bank) : hits_[mode] | bit(bank);
  waits_[mode] = wait.empty() ? waits_[mode] & ~bit(bank) : waits_[mode] | bit(bank);
  if (!hit.empty()) hit_age_[mode][bank] = slots[hit.head].age;
  if (!wait.empty()) wait_age_[mode][bank] = slots[wait.head].age;
}

void HbmPseudoChannel::enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode) {
  const bool open = (open_ & bit(bank)) != 0;
  const bool is_hit = open && row_[bank] == slots[id].row;
  HbmList& list = (is_hit ? hit_ : wait_)[mode][bank];
  const bool first = list.empty();
  list.append(slots, id);
  if (!first) return;  // the bank's candidates are as before
  note_heads(slots, bank, mode);
  if (is_hit) {
    column_at_ = precharge_at_ = kUnknown;  // a hit also keeps the row open
  } else if (!open) {
    activate_at_ = kUnknown;
  } else {
    precharge_at_ = kUnknown;
  }
}

HbmTick HbmPseudoChannel::column_time(HbmMode mode) {
  if (column_at_ != kUnknown) return column_at_;
  column_at_ = kHbmNever;
  for_each_bank(hits_[mode],
                [&](std::uint32_t bank) { column_at_ = std::min(column_at_, column_ready(mode, bank)); });
  return column_at_;
}

HbmTick HbmPseudoChannel::activate_time(HbmMode mode) {
  if (activate_at_ != kUnknown) return activate_at_;
  activate_at_ = kHbmNever;
  for_each_bank(activatable(mode),
                [&](std::uint32_t bank) { activate_at_ = std::min(activate_at_, activate_ready(bank)); });
  raise(activate_at_, activates_[oldest_activate_] + ticks_->faw);
  return activate_at_;
}

HbmTick HbmPseudoChannel::precharge_time(HbmMode mode) {
  if (precharge_at_ != kUnknown) return precharge_at_;
  precharge_at_ = kHbmNever;
  for_each_bank(closable(mode),
                [&](std::uint32_t bank) { precharge_at_ = std::min(precharge_at_, precharge_ready_[bank]); });
  return precharge_at_;
}

HbmPseudoChannel::Choice HbmPseudoChannel::oldest_column(HbmMode mode, HbmTick now) const {
  Choice best;
  for_each_bank(hits_[mode], [&](std::uint32_t bank) {
    if (hit_age_[mode][bank] < best.age && column_ready(mode, bank) <= now)
      best = {hit_age_[mode][bank], bank};
  });
  return best;
}

HbmPseudoChannel::Choice HbmPseudoChannel::oldest_activate(HbmMode mode, HbmTick now) const {
  Choice best;
  for_each_bank(activatable(mode), [&](std::uint32_t bank) {
    if (wait_age_[mode][bank] < best.age && activate_ready(bank) <= now) best = {wait_age_[mode][bank], bank};
  });
  return best;
}

HbmPseudoChannel::Choice HbmPseudoChannel::oldest_precharge(HbmMode mode, HbmTick now) const {
  Choice best;
  for_each_bank(closable(mode), [&](std::uint32_t bank) {
    if (wait_age_[mode][bank] < best.age && precharge_ready_[bank] <= now)
      best = {wait_age_[mode][bank], bank};
  });
  return best;
}

HbmSlots::Id HbmPseudoChannel::column(HbmSlots& slots, std::uint32_t bank, HbmMode mode, HbmTick now) {
  const std::uint32_t group = group_[bank];
  const HbmTick* same_kind = ticks_->column_to_column(group);
  const HbmTick* write_to_read = ticks_->write_to_read(group);
  for (std::uint32_t g = 0; g < ticks_->groups; ++g) {
    raise(group_column_[mode][g], now + same_kind[g]);
    if (mode == kHbmWrite)
      raise(group_column_[kHbmRead][g], now + write_to_read[g]);
    else
      raise(group_column_[kHbmWrite][g], now + ticks_->read_to_write);
  }
  raise(precharge_ready_[bank],
        now + (mode == kHbmWrite ? ticks_->write_to_precharge : ticks_->read_to_precharge));
  const HbmSlots::Id id = hit_[mode][bank].pop(slots);
  note_heads(slots, bank, mode);
  column_at_ = kUnknown;
  if (hit_[mode][bank].empty()) precharge_at_ = kUnknown;
  return id;
}

HbmSlots::Id HbmPseudoChannel::activate(HbmSlots& slots, std::uint32_t bank, HbmMode mode, HbmTick now) {
  const HbmTick* apart = ticks_->activate_to_activate(group_[bank]);
  for (std::uint32_t g = 0; g < ticks_->groups; ++g) raise(group_activate_[g], now + apart[g]);
  activates_[oldest_activate_] = now;
  oldest_activate_ = (oldest_activate_ + 1) % 4;
  raise(activate_ready_[bank], now + ticks_->rc);
  raise(precharge_ready_[bank], now + ticks_->ras);
  for (const HbmMode m : {kHbmRead, kHbmWrite}) raise(column_ready_[m][bank], now + ticks_->rcd[m]);

  const HbmSlots::Id asker = wait_[mode][bank].head;
  open_ |= bit(bank);
  row_[bank] = slots[asker].row;
  for (const HbmMode m : {kHbmRead, kHbmWrite}) {
    split_row(slots, wait_[m][bank], hit_[m][bank], row_[bank]);
    note_heads(slots, bank, m);
  }
  forget_times();
  return asker;
}

void HbmPseudoChannel::close(HbmSlots& slots, std::uint32_t bank) {
  open_ &= ~bit(bank);
  for (const HbmMode m : {kHbmRead, kHbmWrite}) {
    if (hit_[m][bank].empty()) continue;
    merge_by_age(slots, hit_[m][bank], wait_[m][bank]);
    note_heads(slots, bank, m);
  }
}

void HbmPseudoChannel::precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  raise(activate_ready_[bank], now + ticks_->rp);
  close(slots, bank);
  forget_times();
}

HbmTick HbmPseudoChannel::precharge_all_time() const {
  HbmTick time = 0;
  for_each_bank(open_, [&](std::uint32_t bank) { raise(time, precharge_ready_[bank]); });
  return time;
}

HbmTick HbmPseudoChannel::refresh_time() const {
  HbmTick time = 0;
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) raise(time, activate_ready_[bank]);
  return time;
}

void HbmPseudoChannel::precharge_all(HbmSlots& slots, HbmTick now) {
  for_each_bank(open_, [&](std::uint32_t bank) {
    raise(activate_ready_[bank], now + ticks_->rp);
    close(slots, bank);
  });
  forget_times();
}

void HbmPseudoChannel::refresh(HbmTick now) {
  for (std::uint32_t bank = 0; bank < ticks_->banks; ++bank) raise(activate_ready_[bank], now + ticks_->rfc);
  refresh_due += ticks_->refi;
  refreshing = false;
  forget_times();
}

}  // namespace tessera
