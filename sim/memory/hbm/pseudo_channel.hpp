// Banks, rows and timing state of one pseudo-channel.
//
// For every bank, bank group and stack id it keeps the earliest time of the next command that the commands so
// far allow; issuing one raises the times of what it constrains, and nothing else is ever updated. A column
// command must wait for its bank (RCD), its group (CCD long, WTR long) and its stack id (CCD, WTR short); an
// activate for its bank (RP, RC, RFC), its group (RRD long) and the whole pseudo-channel (RRD short, FAW).
//
// Banks stand in three orders of age: those with requests for their open row; closed ones with requests;
// open ones of which another row is wanted and that no request hits.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "sim/memory/hbm/bank_queues.hpp"
#include "sim/memory/hbm/offer.hpp"

namespace tessera {

enum HbmMode : std::uint8_t { kHbmRead = 0, kHbmWrite = 1 };

class HbmPseudoChannel {
 public:
  explicit HbmPseudoChannel(const HbmTicks& ticks);

  void enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode);
  // From now on reads or writes are served; offers are for these.
  void serve(const HbmSlots& slots, HbmMode mode);

  // The next command of each kind that may start at `from` or later.
  const HbmOffer& column_offer(HbmTick from) {
    if (!column_.holds(from))
      by_hit_.search(from, column_, [this](std::uint32_t bank) { return column_ready(bank); });
    return column_;
  }
  const HbmOffer& activate_offer(HbmTick from) {
    from = std::max(from, activate_from_);
    if (!activate_.holds(from))
      by_closed_.search(from, activate_, [this](std::uint32_t bank) { return activate_ready(bank); });
    return activate_;
  }
  const HbmOffer& precharge_offer(HbmTick from) {
    if (!precharge_.holds(from))
      by_conflict_.search(from, precharge_,
                          [this](std::uint32_t bank) { return banks_[bank].precharge_ready; });
    return precharge_;
  }

  HbmSlots::Id column(HbmSlots& slots, std::uint32_t bank, HbmTick now);
  HbmSlots::Id activate(HbmSlots& slots, std::uint32_t bank, HbmTick now);  // for whom
  void precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now);         // for another row

  [[nodiscard]] bool any_open() const { return open_banks_ != 0; }
  [[nodiscard]] std::uint32_t row(std::uint32_t bank) const { return banks_[bank].row; }
  [[nodiscard]] HbmTick precharge_all_time() const;
  [[nodiscard]] HbmTick refresh_time() const;  // all banks must be closed
  void precharge_all(HbmSlots& slots, HbmTick now);
  void refresh(HbmTick now);

  HbmTick refresh_due = 0;
  bool refreshing = false;

 private:
  enum class Order : std::uint8_t { none, hit, closed, conflict };
  struct Bank {
    HbmTick activate_ready = 0, precharge_ready = 0;
    HbmTick column_ready[2] = {0, 0};
    std::uint32_t row = 0;
    std::uint8_t group = 0, stack = 0;
    bool open = false;
    Order order = Order::none;
    HbmList hit[2], wait[2];  // reads, writes
  };

  [[nodiscard]] HbmTick column_ready(std::uint32_t bank) const {
    const Bank& b = banks_[bank];
    return std::max({b.column_ready[mode_], group_column_[mode_][b.group], stack_column_[mode_][b.stack]});
  }
  [[nodiscard]] HbmTick activate_ready(std::uint32_t bank) const {
    const Bank& b = banks_[bank];
    const HbmTick ready = std::max(b.activate_ready, group_activate_[b.group]);
    return (ready + 1) & ~HbmTick{1};  // activates start at whole clocks
  }
  void place(const HbmSlots& slots, std::uint32_t bank);
  void place_hit(const HbmSlots& slots, std::uint32_t bank);
  void place_closed(const HbmSlots& slots, std::uint32_t bank);
  void place_conflict(const HbmSlots& slots, std::uint32_t bank);
  void displace(std::uint32_t bank);
  void close(HbmSlots& slots, std::uint32_t bank, HbmTick now);

  const HbmTicks* ticks_;
  HbmMode mode_ = kHbmRead;
  std::uint32_t open_banks_ = 0;
  HbmOffer column_, activate_, precharge_;
  HbmBankOrder by_hit_, by_closed_, by_conflict_;
  HbmTick activate_from_ = 0;          // RRD short and FAW
  std::array<HbmTick, 4> activates_;   // the last four, a ring
  std::uint32_t oldest_activate_ = 0;  // in the ring
  std::array<HbmTick, kHbmMaxBanks> group_activate_{};
  std::array<std::array<HbmTick, kHbmMaxBanks>, 2> group_column_{}, stack_column_{};
  std::array<Bank, kHbmMaxBanks> banks_;
};

// What follows runs for every command.

namespace detail {
inline void raise(HbmTick& earliest, HbmTick to) { earliest = std::max(earliest, to); }
}  // namespace detail

inline void HbmPseudoChannel::place_hit(const HbmSlots& slots, std::uint32_t bank) {
  Bank& b = banks_[bank];
  const std::uint64_t age = slots[b.hit[mode_].head].age;
  b.order = Order::hit;
  by_hit_.insert(bank, age);
  column_.add(column_ready(bank), age, bank);
}

inline void HbmPseudoChannel::place_closed(const HbmSlots& slots, std::uint32_t bank) {
  Bank& b = banks_[bank];
  const std::uint64_t age = slots[b.wait[mode_].head].age;
  b.order = Order::closed;
  by_closed_.insert(bank, age);
  activate_.add(activate_ready(bank), age, bank);
}

inline void HbmPseudoChannel::place_conflict(const HbmSlots& slots, std::uint32_t bank) {
  Bank& b = banks_[bank];
  const std::uint64_t age = slots[b.wait[mode_].head].age;
  b.order = Order::conflict;
  by_conflict_.insert(bank, age);
  precharge_.add(b.precharge_ready, age, bank);
}

// Puts a bank into the order its requests of the served kind call for, and offers it.
inline void HbmPseudoChannel::place(const HbmSlots& slots, std::uint32_t bank) {
  Bank& b = banks_[bank];
  if (!b.hit[mode_].empty())
    place_hit(slots, bank);
  else if (b.wait[mode_].empty())
    b.order = Order::none;
  else if (b.open)
    place_conflict(slots, bank);
  else
    place_closed(slots, bank);
}

inline void HbmPseudoChannel::displace(std::uint32_t bank) {
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

inline void HbmPseudoChannel::enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode) {
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

inline HbmSlots::Id HbmPseudoChannel::column(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  Bank& b = banks_[bank];
  by_hit_.erase(bank);
  for (std::uint32_t s = 0; s < ticks_->stacks; ++s)
    detail::raise(stack_column_[mode_][s], now + (s == b.stack ? ticks_->ccd_short : ticks_->ccd_stack));
  detail::raise(group_column_[mode_][b.group], now + ticks_->ccd_long);
  if (mode_ == kHbmWrite) {
    for (std::uint32_t s = 0; s < ticks_->stacks; ++s)
      detail::raise(stack_column_[kHbmRead][s], now + ticks_->write_to_read_short);
    detail::raise(group_column_[kHbmRead][b.group], now + ticks_->write_to_read_long);
    detail::raise(b.precharge_ready, now + ticks_->write_to_precharge);
  } else {
    for (std::uint32_t s = 0; s < ticks_->stacks; ++s)
      detail::raise(stack_column_[kHbmWrite][s], now + ticks_->read_to_write);
    detail::raise(b.precharge_ready, now + ticks_->read_to_precharge);
  }
  const HbmSlots::Id id = b.hit[mode_].pop(slots);
  column_.forget();
  place(slots, bank);  // hits left, other rows wanted, or nothing
  return id;
}

inline HbmSlots::Id HbmPseudoChannel::activate(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  Bank& b = banks_[bank];
  by_closed_.erase(bank);
  activates_[oldest_activate_] = now;
  oldest_activate_ = (oldest_activate_ + 1) % 4;
  activate_from_ = std::max(now + ticks_->rrd_short, activates_[oldest_activate_] + ticks_->faw);
  detail::raise(group_activate_[b.group], now + ticks_->rrd_long);
  detail::raise(b.activate_ready, now + ticks_->rc);
  detail::raise(b.precharge_ready, now + ticks_->ras);
  detail::raise(b.column_ready[kHbmRead], now + ticks_->rcd[kHbmRead]);
  detail::raise(b.column_ready[kHbmWrite], now + ticks_->rcd[kHbmWrite]);

  const HbmSlots::Id asker = b.wait[mode_].head;
  b.open = true;
  b.row = slots[asker].row;
  ++open_banks_;
  for (const HbmMode m : {kHbmRead, kHbmWrite})
    if (!b.wait[m].empty()) split_row(slots, b.wait[m], b.hit[m], b.row);
  activate_.forget();
  place_hit(slots, bank);
  return asker;
}

// The bank's order is for the caller to take and give.
inline void HbmPseudoChannel::close(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  Bank& b = banks_[bank];
  detail::raise(b.activate_ready, now + ticks_->rp);
  b.open = false;
  --open_banks_;
  for (const HbmMode m : {kHbmRead, kHbmWrite})
    if (!b.hit[m].empty()) merge_by_age(slots, b.hit[m], b.wait[m]);
}

inline void HbmPseudoChannel::precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  by_conflict_.erase(bank);
  precharge_.forget();
  close(slots, bank, now);
  place_closed(slots, bank);
}

}  // namespace tessera
