// Banks, rows and timing state of one pseudo-channel.
//
// A bank with requests of the served kind stands in one of these classes: its open row is hit (a class for
// each stack id); it is closed; it is open and only another row is wanted. In each class some banks are ready
// and the others wait for their time. A column command must wait for its bank (RCD) and its group
// (CCD long, WTR long), which decide when the bank is ready, and for its stack id (CCD, WTR short), which
// holds the whole class; an activate for its bank (RP, RC, RFC) and group (RRD long), and for the class (RRD
// short, FAW); a precharge for its bank alone. Of the ready banks of a class the one whose request is oldest
// goes first, and is remembered. So a command costs a few operations on sets, however many banks wait. Which
// bank and which kind come next is hard to foresee, so what runs for every command avoids branches on them.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "sim/memory/hbm/bank_queues.hpp"
#include "sim/memory/hbm/waiting.hpp"

namespace tessera {

enum HbmMode : std::uint8_t { kHbmRead = 0, kHbmWrite = 1 };

class HbmPseudoChannel {
 public:
  explicit HbmPseudoChannel(const HbmTicks& ticks);

  void enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode, HbmTick now);
  // From now on reads or writes are served.
  void serve(const HbmSlots& slots, HbmMode mode, HbmTick now);

  // Before when no command of a kind can start, and whose turn it is then, if anyone's.
  [[nodiscard]] HbmTick column_start() const {
    HbmTick start = kHbmNever;
    for (std::uint32_t s = 0; s < stacks_; ++s) start = std::min(start, classes_[hits(mode_, s)].start);
    return start;
  }
  [[nodiscard]] HbmTick activate_start() const { return classes_[kClosed].start; }
  [[nodiscard]] HbmTick precharge_start() const { return classes_[kConflict].start; }
  [[nodiscard]] HbmTurn column_turn(HbmTick now) {
    HbmTurn first = kHbmNobody;
    for (std::uint32_t s = 0; s < stacks_; ++s) first = hbm_first(first, turn(classes_[hits(mode_, s)], now));
    return first;
  }
  [[nodiscard]] HbmTurn activate_turn(HbmTick now) { return turn(classes_[kClosed], now); }
  [[nodiscard]] HbmTurn precharge_turn(HbmTick now) { return turn(classes_[kConflict], now); }

  // The commands, at `now`.
  HbmSlots::Id column(HbmSlots& slots, std::uint32_t bank, HbmTick now);
  HbmSlots::Id activate(HbmSlots& slots, std::uint32_t bank, HbmTick now);  // for whom
  void precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now);         // for another row

  // While it is refreshing no bank is ready.
  [[nodiscard]] bool refreshing() const { return refreshing_; }
  void begin_refresh();
  [[nodiscard]] bool is_open(std::uint32_t bank) const { return (open_ & bit(bank)) != 0; }
  [[nodiscard]] bool any_open() const { return open_ != 0; }
  [[nodiscard]] std::uint32_t row(std::uint32_t bank) const { return banks_[bank].row; }
  [[nodiscard]] HbmTick precharge_all_time() const;
  [[nodiscard]] HbmTick refresh_time() const { return refresh_ready_; }  // all banks must be closed
  void precharge_all(HbmSlots& slots, HbmTick now);
  void refresh(HbmTick now);

  HbmTick refresh_due = 0;

 private:
  static constexpr std::uint32_t kClosed = 2 * kHbmMaxStacks, kConflict = kClosed + 1, kClasses = kClosed + 2;
  static constexpr std::uint32_t hits(HbmMode mode, std::uint32_t stack) {
    return mode * kHbmMaxStacks + stack;
  }
  struct Class {
    HbmBankSet ready = 0;
    HbmTurn first = kHbmNobody;  // of the ready ones
    HbmTick from = 0;            // holds all of them
    HbmTick start = kHbmNever;   // when the next of them may go
    HbmWaiting waiting;
    void hold(HbmTick until) { from = std::max(from, until), start = std::max(start, until); }
    void update() { start = std::max(from, waiting.next() & -static_cast<HbmTick>(ready == 0)); }
  };
  struct ReadyTimes {  // of the banks of a class: the later of their own and of their group's
    std::array<HbmTick, kHbmMaxBanks> bank{}, group{};
  };
  struct Bank {
    std::uint32_t row = 0;
    std::uint16_t group = 0, stack = 0;
    HbmList hit[2];  // reads, writes
    HbmWaitList wait[2];
  };

  static constexpr HbmBankSet bit(std::uint32_t bank) { return HbmBankSet{1} << bank; }
  [[nodiscard]] HbmTurn oldest(HbmBankSet banks) const {
    HbmTurn first = kHbmNobody;
    for (; banks != 0; banks &= banks - 1)
      first = hbm_first(first, turns_[static_cast<std::size_t>(std::countr_zero(banks))]);
    return first;
  }
  // Puts a bank into a class with the age of the request it waits for ...
  void enter(const HbmSlots& slots, std::uint32_t bank, std::uint32_t number, const HbmList& list) {
    class_of_[bank] = static_cast<std::uint8_t>(number);
    turns_[bank] = slots[list.head].turn;
  }
  void enter(const HbmSlots& slots, std::uint32_t bank);  // the class its requests call for
  // ... where it is ready, or waits.
  void await(std::uint32_t bank, HbmTick now) {
    Class& c = classes_[class_of_[bank]];
    const ReadyTimes& times = times_[class_of_[bank]];
    join(c, bank, std::max(times.bank[bank], times.group[banks_[bank].group]), now);
    c.update();
  }
  void await_until(HbmTick time, std::uint32_t bank) {  // a time that lies ahead
    Class& c = classes_[class_of_[bank]];
    c.waiting.put(bit(bank), time);
    c.update();
  }
  void join(Class& c, std::uint32_t bank, HbmTick time, HbmTick now) {
    if (time > now) return c.waiting.put(bit(bank), time);
    c.ready |= bit(bank);
    c.first = hbm_first(c.first, turns_[bank]);
  }
  // Banks go, of those that are ready.
  void leave(Class& c, HbmBankSet banks) {
    c.ready &= ~banks;
    c.first = oldest(c.ready);
    c.update();
  }
  HbmTurn turn(Class& c, HbmTick now) {
    if (c.waiting.next() <= now) get_ready(c, now);
    return hbm_turn_if(c.start <= now, c.first);
  }
  // Those whose time has come, unless their group has been used meanwhile: nothing else delays who waits.
  void get_ready(Class& c, HbmTick now) {
    const ReadyTimes& times = times_[static_cast<std::size_t>(&c - classes_.data())];
    do {
      HbmBankSet banks = c.waiting.take();
      do {
        const auto bank = static_cast<std::uint32_t>(std::countr_zero(banks));
        join(c, bank, times.group[banks_[bank].group], now);
        banks &= banks - 1;
      } while (banks != 0);
    } while (c.waiting.next() <= now);
    c.update();
  }
  void await_all(HbmTick now);
  void nobody_ready();
  void close(HbmSlots& slots, std::uint32_t bank, HbmTick now);

  const HbmTicks* ticks_;
  std::uint32_t stacks_;
  HbmMode mode_ = kHbmRead;
  bool refreshing_ = false;
  HbmBankSet open_ = 0;
  HbmTick turnaround_[2] = {0, 0};     // to reads, to writes
  HbmTick refresh_ready_ = 0;          // RC, RP and RFC of all banks; RRD does not bind a refresh
  std::array<HbmTick, 4> activates_;   // the last four, a ring
  std::uint32_t oldest_activate_ = 0;  // in the ring
  std::array<HbmBankSet, kHbmMaxBanks> group_banks_{};
  std::array<std::uint8_t, kHbmMaxBanks> class_of_;  // kClasses: none
  std::array<HbmTurn, kHbmMaxBanks> turns_{};        // of banks in a class
  std::array<Class, kClasses> classes_;
  std::array<ReadyTimes, kClasses> times_;
  std::array<Bank, kHbmMaxBanks> banks_;
};

// What follows runs for every command.

namespace detail {
inline void raise(HbmTick& earliest, HbmTick to) { earliest = std::max(earliest, to); }
}  // namespace detail

inline void HbmPseudoChannel::enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode,
                                      HbmTick now) {
  Bank& b = banks_[bank];
  const bool open = is_open(bank);
  const bool hit = open && b.row == slots[id].row;
  const HbmList& list = hit ? b.hit[mode] : b.wait[mode];
  const bool first = list.empty();
  if (hit)
    b.hit[mode].append(slots, id);
  else
    b.wait[mode].append(slots, id);
  // Only the heads of lists decide where a bank stands, and its hits come before its other requests.
  if (!first || mode != mode_ || (!hit && !b.hit[mode].empty())) return;
  if (class_of_[bank] == kConflict) {  // its row is wanted again
    classes_[kConflict].waiting.erase(bit(bank));
    leave(classes_[kConflict], bit(bank));
  }
  enter(slots, bank, hit ? hits(mode, b.stack) : open ? kConflict : kClosed, list);
  if (!refreshing_) await(bank, now);
}

inline HbmSlots::Id HbmPseudoChannel::column(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  const HbmTicks& t = *ticks_;
  Bank& b = banks_[bank];
  const bool write = mode_ == kHbmWrite;
  for (std::uint32_t s = 0; s < stacks_; ++s)
    classes_[hits(mode_, s)].hold(now + (s == b.stack ? t.ccd_short : t.ccd_stack));
  turnaround_[!mode_] = now + (write ? t.write_to_read_short : t.read_to_write);
  times_[hits(mode_, b.stack)].group[b.group] = now + t.ccd_long;
  if (write) detail::raise(times_[hits(kHbmRead, b.stack)].group[b.group], now + t.write_to_read_long);
  detail::raise(times_[kConflict].bank[bank], now + (write ? t.write_to_precharge : t.read_to_precharge));
  const HbmSlots::Id id = b.hit[mode_].pop(slots);

  Class& c = classes_[hits(mode_, b.stack)];
  HbmBankSet later = c.ready & group_banks_[b.group];
  if (b.hit[mode_].empty()) {
    later &= ~bit(bank);
    c.ready &= ~bit(bank);
    class_of_[bank] = kClasses;
    if (!b.wait[mode_].empty()) {
      enter(slots, bank, kConflict, b.wait[mode_]);
      await_until(times_[kConflict].bank[bank], bank);
    }
  } else {
    enter(slots, bank, class_of_[bank], b.hit[mode_]);
  }
  if (later != 0) c.waiting.put(later, now + t.ccd_long);
  leave(c, later);
  return id;
}

inline HbmSlots::Id HbmPseudoChannel::activate(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  const HbmTicks& t = *ticks_;
  Bank& b = banks_[bank];
  Class& c = classes_[kClosed];
  activates_[oldest_activate_] = now;
  oldest_activate_ = (oldest_activate_ + 1) % 4;
  c.from = std::max(now + t.rrd_short, activates_[oldest_activate_] + t.faw);
  times_[kClosed].group[b.group] = now + t.rrd_long;
  // What came before has passed: the bank was closed.
  times_[kClosed].bank[bank] = now + t.rc;
  times_[kConflict].bank[bank] = now + t.ras;
  times_[hits(kHbmRead, b.stack)].bank[bank] = now + t.rcd[kHbmRead];
  times_[hits(kHbmWrite, b.stack)].bank[bank] = now + t.rcd[kHbmWrite];
  detail::raise(refresh_ready_, now + t.rc);

  open_ |= bit(bank);
  const HbmBankSet group = c.ready & group_banks_[b.group];
  if (group != bit(bank)) c.waiting.put(group & ~bit(bank), now + t.rrd_long);
  leave(c, group);
  const HbmSlots::Id asker = b.wait[mode_].head;
  b.row = slots[asker].row;
  const HbmMode other = mode_ == kHbmRead ? kHbmWrite : kHbmRead;
  b.wait[mode_].open_row(slots, b.hit[mode_], b.row);
  b.wait[other].open_row(slots, b.hit[other], b.row);
  enter(slots, bank, hits(mode_, b.stack), b.hit[mode_]);
  await_until(now + t.rcd[mode_], bank);
  return asker;
}

// The bank's class is for the caller to change.
inline void HbmPseudoChannel::close(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  Bank& b = banks_[bank];
  const HbmTick closed = whole_clock(now + ticks_->rp);  // when activates start
  detail::raise(times_[kClosed].bank[bank], closed);
  detail::raise(refresh_ready_, closed);
  open_ &= ~bit(bank);
  for (const HbmMode m : {kHbmRead, kHbmWrite})
    if (!b.hit[m].empty()) b.wait[m].close_row(slots, b.hit[m]);
}

inline void HbmPseudoChannel::precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now) {
  close(slots, bank, now);
  leave(classes_[kConflict], bit(bank));
  enter(slots, bank, kClosed, banks_[bank].wait[mode_]);
  await_until(times_[kClosed].bank[bank], bank);
}

}  // namespace tessera
