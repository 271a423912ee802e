// Banks, rows and timing state of one pseudo-channel.
//
// For every bank it keeps the earliest time of its next command of each kind that the commands so far allow;
// issuing one raises the times of what it constrains, and nothing else is ever updated. A column command must
// wait for its bank (RCD), its group (CCD long, WTR long: noted at the banks of the group) and its stack id
// (CCD, WTR short); an activate for its bank (RP, RC, RFC), its group (RRD long, likewise) and the whole
// pseudo-channel (RRD short, FAW).
//
// A bank with requests of the served kind stands in one of three sets: its open row is hit; it is closed; it
// is open and only another row is wanted. The best claim of each set is remembered. It holds until its time
// has passed or its bank has changed; a bank that joins a set is compared with it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "sim/memory/hbm/bank_queues.hpp"
#include "sim/memory/hbm/claim.hpp"

namespace tessera {

enum HbmMode : std::uint8_t { kHbmRead = 0, kHbmWrite = 1 };

// What the buses of the channel leave: the least starts of each kind of command. Claims count from the epoch.
struct HbmBusTimes {
  HbmTick column = 0, activate = 0, precharge = 0;
  HbmTick epoch = 0;
};

class HbmPseudoChannel {
 public:
  HbmPseudoChannel(const HbmTicks& ticks, std::uint32_t index);

  void enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode, const HbmBusTimes& bus);
  // From now on reads or writes are served; claims are for these.
  void serve(const HbmSlots& slots, HbmMode mode, const HbmBusTimes& bus);

  // The next command of each kind.
  [[nodiscard]] HbmClaim column_claim() const { return column_; }
  [[nodiscard]] HbmClaim row_claim() const { return std::min(activate_, precharge_); }
  // Claims that a bus delays, or that are void, are made again.
  void renew_column(const HbmBusTimes& bus) {
    if (since_epoch(column_) < bus.column - bus.epoch) search_column(bus);
  }
  void renew_row(const HbmBusTimes& bus) {
    if (since_epoch(activate_) < bus.activate - bus.epoch) search_activate(bus);
    if (since_epoch(precharge_) < bus.precharge - bus.epoch) search_precharge(bus);
  }
  void renew_all(const HbmBusTimes& bus);

  // The commands. The claim that led to one is void until renewed; what it makes possible is claimed.
  HbmSlots::Id column(HbmSlots& slots, std::uint32_t bank, HbmTick now, const HbmBusTimes& bus);
  HbmSlots::Id activate(HbmSlots& slots, std::uint32_t bank, HbmTick now,
                        const HbmBusTimes& bus);  // for whom
  void precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now,
                 const HbmBusTimes& bus);  // for another row

  // While it is refreshing it claims nothing.
  [[nodiscard]] bool refreshing() const { return refreshing_; }
  void begin_refresh();
  [[nodiscard]] bool is_open(std::uint32_t bank) const { return (open_ & bit(bank)) != 0; }
  [[nodiscard]] bool any_open() const { return open_ != 0; }
  [[nodiscard]] std::uint32_t row(std::uint32_t bank) const { return banks_[bank].row; }
  [[nodiscard]] HbmTick precharge_all_time() const;
  [[nodiscard]] HbmTick refresh_time() const { return refresh_ready_; }  // all banks must be closed
  void precharge_all(HbmSlots& slots, HbmTick now);
  void refresh(HbmTick now, const HbmBusTimes& bus);

  HbmTick refresh_due = 0;

 private:
  using BankSet = std::uint64_t;
  static constexpr std::size_t kMostStacks = 4;
  struct Bank {
    std::uint32_t row = 0;
    std::uint32_t group_begin = 0;  // first bank of its group
    std::uint32_t stack = 0;
    HbmList hit[2], wait[2];  // reads, writes
  };

  static constexpr BankSet bit(std::uint32_t bank) { return BankSet{1} << bank; }
  void search_column(const HbmBusTimes& bus);
  void search_activate(const HbmBusTimes& bus);
  void search_precharge(const HbmBusTimes& bus);
  // Enters a bank into a set with the tag of its head ...
  void enter_hits(const HbmSlots& slots, std::uint32_t bank);
  void enter_closed(const HbmSlots& slots, std::uint32_t bank);
  void enter_conflicts(const HbmSlots& slots, std::uint32_t bank);
  void enter(const HbmSlots& slots, std::uint32_t bank);  // the set its requests call for
  // ... and claims its turn.
  void claim_hit(std::uint32_t bank, const HbmBusTimes& bus);
  void claim_closed(std::uint32_t bank, const HbmBusTimes& bus);
  void claim_conflict(std::uint32_t bank, const HbmBusTimes& bus);
  void close(HbmSlots& slots, std::uint32_t bank, HbmTick now);

  const HbmTicks* ticks_;
  std::uint32_t index_;
  HbmMode mode_ = kHbmRead;
  bool refreshing_ = false;
  BankSet open_ = 0;
  BankSet hits_ = 0, closed_ = 0, conflicts_ = 0;
  HbmClaim column_ = kHbmNobody, activate_ = kHbmNobody, precharge_ = kHbmNobody;
  std::array<BankSet, kMostStacks> stack_banks_{};
  HbmTick refresh_ready_ = 0;          // RC, RP and RFC of all banks; RRD does not bind a refresh
  HbmTick activate_from_ = 0;          // RRD short and FAW
  std::array<HbmTick, 4> activates_;   // the last four, a ring
  std::uint32_t oldest_activate_ = 0;  // in the ring
  std::array<HbmTick, kMostStacks> stack_column_[2]{};  // earliest column command of each stack id, by kind
  HbmBankTimes column_ready_[2]{}, activate_ready_{}, precharge_ready_{};
  std::array<HbmClaim, kHbmMaxBanks> tags_{};  // of banks in a set
  std::array<Bank, kHbmMaxBanks> banks_;
};

// What follows runs for every command.

namespace detail {
inline void raise(HbmTick& earliest, HbmTick to) { earliest = std::max(earliest, to); }
inline HbmTick whole_clock(HbmTick time) { return (time + 1) & ~HbmTick{1}; }
}  // namespace detail

inline void HbmPseudoChannel::search_column(const HbmBusTimes& bus) {
  column_ = kHbmNobody;
  for (std::uint32_t s = 0; s < ticks_->stacks; ++s)
    column_ = std::min(column_, best_claim(hits_ & stack_banks_[s], column_ready_[mode_],
                                           std::max(bus.column, stack_column_[mode_][s]), bus.epoch, tags_));
}
inline void HbmPseudoChannel::search_activate(const HbmBusTimes& bus) {
  activate_ = best_claim(closed_, activate_ready_, std::max(bus.activate, activate_from_), bus.epoch, tags_);
}
inline void HbmPseudoChannel::search_precharge(const HbmBusTimes& bus) {
  precharge_ = best_claim(conflicts_, precharge_ready_, bus.precharge, bus.epoch, tags_);
}

inline void HbmPseudoChannel::enter_hits(const HbmSlots& slots, std::uint32_t bank) {
  hits_ |= bit(bank);
  tags_[bank] = hbm_tag(slots[banks_[bank].hit[mode_].head].age, index_, bank);
}
inline void HbmPseudoChannel::enter_closed(const HbmSlots& slots, std::uint32_t bank) {
  closed_ |= bit(bank);
  tags_[bank] = hbm_tag(slots[banks_[bank].wait[mode_].head].age, index_, bank);
}
inline void HbmPseudoChannel::enter_conflicts(const HbmSlots& slots, std::uint32_t bank) {
  conflicts_ |= bit(bank);
  tags_[bank] = hbm_tag(slots[banks_[bank].wait[mode_].head].age, index_, bank);
}

inline void HbmPseudoChannel::claim_hit(std::uint32_t bank, const HbmBusTimes& bus) {
  const HbmTick start =
      std::max({column_ready_[mode_][bank], stack_column_[mode_][banks_[bank].stack], bus.column});
  column_ = std::min(column_, hbm_claim(start - bus.epoch, tags_[bank]));
}
inline void HbmPseudoChannel::claim_closed(std::uint32_t bank, const HbmBusTimes& bus) {
  const HbmTick start = std::max({activate_ready_[bank], activate_from_, bus.activate});
  activate_ = std::min(activate_, hbm_claim(start - bus.epoch, tags_[bank]));
}
inline void HbmPseudoChannel::claim_conflict(std::uint32_t bank, const HbmBusTimes& bus) {
  const HbmTick start = std::max(precharge_ready_[bank], bus.precharge);
  precharge_ = std::min(precharge_, hbm_claim(start - bus.epoch, tags_[bank]));
}

inline void HbmPseudoChannel::enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode,
                                      const HbmBusTimes& bus) {
  Bank& b = banks_[bank];
  const bool open = is_open(bank);
  const bool hits = open && b.row == slots[id].row;
  HbmList& list = hits ? b.hit[mode] : b.wait[mode];
  const bool first = list.empty();
  list.append(slots, id);
  // Only the heads of lists decide where a bank stands, and its hits come before its other requests.
  if (!first || mode != mode_ || (!hits && (hits_ & bit(bank)) != 0)) return;
  if (hits) {
    if ((conflicts_ & bit(bank)) != 0) {  // its row is wanted again
      conflicts_ &= ~bit(bank);
      if (!refreshing_ && bank_of(precharge_) == bank) search_precharge(bus);
    }
    enter_hits(slots, bank);
    if (!refreshing_) claim_hit(bank, bus);
  } else if (open) {
    enter_conflicts(slots, bank);
    if (!refreshing_) claim_conflict(bank, bus);
  } else {
    enter_closed(slots, bank);
    if (!refreshing_) claim_closed(bank, bus);
  }
}

inline HbmSlots::Id HbmPseudoChannel::column(HbmSlots& slots, std::uint32_t bank, HbmTick now,
                                             const HbmBusTimes& bus) {
  const HbmTicks& t = *ticks_;
  Bank& b = banks_[bank];
  const bool write = mode_ == kHbmWrite;
  for (std::uint32_t s = 0; s < t.stacks; ++s) {
    detail::raise(stack_column_[mode_][s], now + (s == b.stack ? t.ccd_short : t.ccd_stack));
    detail::raise(stack_column_[!mode_][s], now + (write ? t.write_to_read_short : t.read_to_write));
  }
  for (std::uint32_t i = b.group_begin; i < b.group_begin + t.banks_per_group; ++i) {
    detail::raise(column_ready_[mode_][i], now + t.ccd_long);
    if (write) detail::raise(column_ready_[kHbmRead][i], now + t.write_to_read_long);
  }
  detail::raise(precharge_ready_[bank], now + (write ? t.write_to_precharge : t.read_to_precharge));
  const HbmSlots::Id id = b.hit[mode_].pop(slots);
  column_ = 0;
  if (!b.hit[mode_].empty()) {
    enter_hits(slots, bank);
  } else {
    hits_ &= ~bit(bank);
    if (!b.wait[mode_].empty()) {
      enter_conflicts(slots, bank);
      claim_conflict(bank, bus);
    }
  }
  return id;
}

inline HbmSlots::Id HbmPseudoChannel::activate(HbmSlots& slots, std::uint32_t bank, HbmTick now,
                                               const HbmBusTimes& bus) {
  const HbmTicks& t = *ticks_;
  Bank& b = banks_[bank];
  activates_[oldest_activate_] = now;
  oldest_activate_ = (oldest_activate_ + 1) % 4;
  activate_from_ = std::max(now + t.rrd_short, activates_[oldest_activate_] + t.faw);
  for (std::uint32_t i = b.group_begin; i < b.group_begin + t.banks_per_group; ++i)
    detail::raise(activate_ready_[i], now + t.rrd_long);
  detail::raise(activate_ready_[bank], now + t.rc);
  detail::raise(refresh_ready_, now + t.rc);
  detail::raise(precharge_ready_[bank], now + t.ras);
  detail::raise(column_ready_[kHbmRead][bank], now + t.rcd[kHbmRead]);
  detail::raise(column_ready_[kHbmWrite][bank], now + t.rcd[kHbmWrite]);

  const HbmSlots::Id asker = b.wait[mode_].head;
  b.row = slots[asker].row;
  open_ |= bit(bank);
  closed_ &= ~bit(bank);
  activate_ = 0;
  for (const HbmMode m : {kHbmRead, kHbmWrite})
    if (!b.wait[m].empty()) split_row(slots, b.wait[m], b.hit[m], b.row);
  enter_hits(slots, bank);
  claim_hit(bank, bus);
  return asker;
}

// The bank's set is for the caller to take and give.
inline void HbmPseudoChannel::close(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  Bank& b = banks_[bank];
  const HbmTick closed = detail::whole_clock(now + ticks_->rp);  // when activates start
  detail::raise(activate_ready_[bank], closed);
  detail::raise(refresh_ready_, closed);
  open_ &= ~bit(bank);
  for (const HbmMode m : {kHbmRead, kHbmWrite})
    if (!b.hit[m].empty()) merge_by_age(slots, b.hit[m], b.wait[m]);
}

inline void HbmPseudoChannel::precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now,
                                        const HbmBusTimes& bus) {
  close(slots, bank, now);
  conflicts_ &= ~bit(bank);
  precharge_ = 0;
  enter_closed(slots, bank);
  claim_closed(bank, bus);
}

}  // namespace tessera
