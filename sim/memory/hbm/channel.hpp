// One HBM channel with its controller, event by event.
//
// Requests wait in a read and a write queue; commands go out over a row bus
// (activate, precharge, refresh) and a column bus (read, write) that the
// pseudo-channels share, each at the earliest moment that every timing
// constraint allows. FR-FCFS (Rixner et al., ISCA 2000): a column command for
// the oldest request whose row is open and ready; on the row bus the oldest
// request whose activate or precharge is ready. Rows stay open until another
// row of the bank is wanted and no request hits (open page). A request leaves
// its queue when a row is opened for it, as in Ramulator 2's active buffer, or
// with its read or write. Writes are drained in bursts between two watermarks.
// Every interval all banks of a pseudo-channel are closed and refreshed.
// Nothing ticks: issue() jumps to the next command, or to the next time that a
// bank gets ready for one.
//
// Left out: refresh per bank, forwarding from the write queue, an age limit
// against starvation by hits.
#pragma once

#include <array>
#include <utility>

#include "sim/memory/hbm/pseudo_channel.hpp"

namespace tessera {

class HbmChannel {
 public:
  explicit HbmChannel(const HbmSpec& spec, bool refresh = true);
  HbmChannel(const HbmChannel&) = delete;  // its parts point at its ticks
  HbmChannel& operator=(const HbmChannel&) = delete;

  [[nodiscard]] const HbmTicks& ticks() const { return ticks_; }
  [[nodiscard]] bool has_room(bool write) const { return queued_[write] < capacity_[write]; }
  [[nodiscard]] std::int64_t pending() const { return pending_[kHbmRead] + pending_[kHbmWrite]; }

  // A request that arrives at `now`, which must not lie before the last
  // command or the `until` of a call that issued none. There must be room.
  void enqueue(const HbmRequest& request, HbmTick now);

  // Issues the next command, unless that is later than `until` (kind none).
  HbmCommand issue(HbmTick until = kHbmNever);

 private:
  [[nodiscard]] HbmMode mode_wanted() const;
  void serve(HbmMode mode);
  void start_from_now();
  void take_row_bus(HbmTick until);
  HbmCommand command_to(HbmCommand::Kind kind, std::uint32_t half, std::uint32_t bank) const;
  HbmCommand issue_column(HbmTurn turn);
  HbmCommand issue_activate(HbmTurn turn);
  HbmCommand issue_precharge(HbmTurn turn);
  HbmCommand issue_maintenance(std::uint32_t index);
  [[nodiscard]] std::pair<std::uint32_t, HbmTick> next_maintenance() const;

  HbmTicks ticks_;
  HbmSlots slots_;
  std::array<HbmPseudoChannel, 2> halves_;  // the second may be missing: nothing is sent there
  HbmMode mode_ = kHbmRead;
  std::int64_t capacity_[2], queued_[2] = {0, 0}, pending_[2] = {0, 0};
  std::int64_t drain_high_, drain_low_;
  std::uint64_t arrivals_ = 0;
  HbmTick now_ = 0;
  HbmTick column_from_ = 0, activate_from_ = 0, precharge_from_ = 0;  // no command of a kind starts before
  HbmTick maintenance_from_ = 0;  // no pseudo-channel is due or refreshing before this
};

}  // namespace tessera
