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
    if (column_.time < from)
      by_hit_.search(from, column_, [this](std::uint32_t bank) { return column_ready(bank); });
    return column_;
  }
  const HbmOffer& activate_offer(HbmTick from) {
    from = std::max(from, activate_from_);
    if (activate_.time < from)
      by_closed_.search(from, activate_, [this](std::uint32_t bank) { return activate_ready(bank); });
    return activate_;
  }
  const HbmOffer& precharge_offer(HbmTick from) {
    if (precharge_.time < from)
      by_conflict_.search(from, precharge_,
                          [this](std::uint32_t bank) { return banks_[bank].precharge_ready; });
    return precharge_;
  }

  HbmSlots::Id column(HbmSlots& slots, std::uint32_t bank, HbmTick now);
  HbmSlots::Id activate(HbmSlots& slots, std::uint32_t bank, HbmTick now);  // for whom
  void precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now);

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

}  // namespace tessera
