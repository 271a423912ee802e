// Banks, rows and timing state of one pseudo-channel.
//
// For every bank it keeps the earliest time of each command, as the commands so far allow; constraints
// between bank groups are kept per group and four-activate windows in a ring. A time is never updated for
// its own sake: issuing a command raises the earliest times of what it constrains, and that is all.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "sim/memory/hbm/bank_queues.hpp"

namespace tessera {

enum HbmMode : std::uint8_t { kHbmRead = 0, kHbmWrite = 1 };

class HbmPseudoChannel {
 public:
  static constexpr std::uint32_t kMaxBanks = 64;
  static constexpr std::uint64_t kNobody = ~std::uint64_t{0};
  struct Choice {
    std::uint64_t age = kNobody;
    std::uint32_t bank = 0;
  };

  explicit HbmPseudoChannel(const HbmTicks& ticks);

  void enqueue(HbmSlots& slots, HbmSlots::Id id, std::uint32_t bank, HbmMode mode);

  // Earliest time of a column command for requests of this mode that hit an open row; kHbmNever: none.
  HbmTick column_time(HbmMode mode);
  // Earliest time of an activate and of a precharge that requests of this mode wait for.
  HbmTick activate_time(HbmMode mode);
  HbmTick precharge_time(HbmMode mode);
  // The oldest request whose command is ready at `now`.
  [[nodiscard]] Choice oldest_column(HbmMode mode, HbmTick now) const;
  [[nodiscard]] Choice oldest_activate(HbmMode mode, HbmTick now) const;
  [[nodiscard]] Choice oldest_precharge(HbmMode mode, HbmTick now) const;

  HbmSlots::Id column(HbmSlots& slots, std::uint32_t bank, HbmMode mode, HbmTick now);
  HbmSlots::Id activate(HbmSlots& slots, std::uint32_t bank, HbmMode mode, HbmTick now);  // for whom
  void precharge(HbmSlots& slots, std::uint32_t bank, HbmTick now);

  [[nodiscard]] bool any_open() const { return open_ != 0; }
  [[nodiscard]] std::uint32_t row(std::uint32_t bank) const { return row_[bank]; }
  [[nodiscard]] HbmTick precharge_all_time() const;
  [[nodiscard]] HbmTick refresh_time() const;  // all banks must be closed
  void precharge_all(HbmSlots& slots, HbmTick now);
  void refresh(HbmTick now);
  void forget_times() { column_at_ = activate_at_ = precharge_at_ = kUnknown; }

  HbmTick refresh_due = 0;
  bool refreshing = false;

 private:
  static constexpr HbmTick kUnknown = -1;

  [[nodiscard]] std::uint64_t activatable(HbmMode mode) const { return waits_[mode] & ~open_; }
  [[nodiscard]] std::uint64_t closable(HbmMode mode) const { return waits_[mode] & open_ & ~hits_[mode]; }
  [[nodiscard]] HbmTick column_ready(HbmMode mode, std::uint32_t bank) const {
    return std::max(column_ready_[mode][bank], group_column_[mode][group_[bank]]);
  }
  [[nodiscard]] HbmTick activate_ready(std::uint32_t bank) const {
    return std::max(activate_ready_[bank], group_activate_[group_[bank]]);
  }
  void close(HbmSlots& slots, std::uint32_t bank);
  void note_heads(const HbmSlots& slots, std::uint32_t bank, HbmMode mode);

  const HbmTicks* ticks_;
  // Bit b: bank b has an open row; has requests that hit it; has requests that do not.
  std::uint64_t open_ = 0;
  std::array<std::uint64_t, 2> hits_{}, waits_{};
  // Caches of the three *_time() above, kUnknown when a command has changed what they rest on.
  HbmTick column_at_ = kUnknown, activate_at_ = kUnknown, precharge_at_ = kUnknown;
  std::array<HbmTick, 4> activates_;  // the last four, a ring
  std::uint32_t oldest_activate_ = 0;
  std::array<std::uint8_t, kMaxBanks> group_{};
  std::array<std::uint32_t, kMaxBanks> row_{};
  std::array<HbmTick, kMaxBanks> activate_ready_{}, precharge_ready_{};
  std::array<std::array<HbmTick, kMaxBanks>, 2> column_ready_{};
  std::array<HbmTick, kMaxBanks> group_activate_{};
  std::array<std::array<HbmTick, kMaxBanks>, 2> group_column_{};
  std::array<std::array<std::uint64_t, kMaxBanks>, 2> hit_age_{}, wait_age_{};  // of the lists' heads
  std::array<std::array<HbmList, kMaxBanks>, 2> hit_{}, wait_{};
};

}  // namespace tessera
