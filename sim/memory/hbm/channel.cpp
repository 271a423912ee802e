#include "sim/memory/hbm/channel.hpp"

namespace tessera {
namespace {

std::size_t slots_needed(const HbmSpec& spec) {
  // Each bank may hold one read and one write that have left their queue.
  const std::int64_t banks = spec.organisation.pseudo_channels * spec.organisation.banks_per_pseudo_channel();
  return static_cast<std::size_t>(spec.controller.read_queue + spec.controller.write_queue + 2 * banks);
}

}  // namespace

HbmChannel::HbmChannel(const HbmSpec& spec, bool refresh)
    : ticks_(spec),
      slots_(slots_needed(spec)),
      halves_{HbmPseudoChannel(ticks_), HbmPseudoChannel(ticks_)},
      capacity_{spec.controller.read_queue, spec.controller.write_queue},
      drain_high_(spec.controller.drain_high),
      drain_low_(spec.controller.drain_low) {
  for (std::uint32_t i = 0; i < halves_.size(); ++i)
    if (!refresh || i >= ticks_.pseudo_channels) halves_[i].refresh_due = kHbmNever;
  maintenance_from_ = halves_.front().refresh_due;
}

// Requests that were not there before cannot go in the past.
void HbmChannel::start_from_now() {
  column_from_ = std::max(column_from_, whole_clock(now_));
  activate_from_ = std::max(activate_from_, whole_clock(now_));
  precharge_from_ = std::max(precharge_from_, align_up(now_, ticks_.precharge_grain));
}

void HbmChannel::take_row_bus(HbmTick until) {
  activate_from_ = whole_clock(until);
  precharge_from_ = align_up(until, ticks_.precharge_grain);
}

void HbmChannel::enqueue(const HbmRequest& request, HbmTick now) {
  TESSERA_CHECK(now >= now_, "a request arrived before a command that is already out");
  TESSERA_CHECK(has_room(request.write), "a request was queued without room for it");
  TESSERA_CHECK(request.pseudo_channel < ticks_.pseudo_channels && request.bank < ticks_.banks,
                "a request is for a bank of the channel");
  now_ = now;
  start_from_now();
  const HbmMode mode = request.write ? kHbmWrite : kHbmRead;
  const HbmSlots::Id id = slots_.take();
  HbmSlots::Slot& slot = slots_[id];
  slot.arrival = now;
  slot.turn = hbm_turn(arrivals_++, request.pseudo_channel, request.bank);
  slot.row = request.row;
  slot.column = request.column;
  slot.activated = false;
  ++queued_[mode];
  ++pending_[mode];
  halves_[request.pseudo_channel].enqueue(slots_, id, request.bank, mode, now);
}

HbmMode HbmChannel::mode_wanted() const {
  const bool reads = pending_[kHbmRead] > 0;
  const bool writes = pending_[kHbmWrite] > 0;
  if (mode_ == kHbmRead)
    return queued_[kHbmWrite] >= drain_high_ || (writes && !reads) ? kHbmWrite : kHbmRead;
  return reads && pending_[kHbmWrite] <= drain_low_ ? kHbmRead : kHbmWrite;
}

void HbmChannel::serve(HbmMode mode) {
  mode_ = mode;
  start_from_now();
  for (HbmPseudoChannel& half : halves_) half.serve(slots_, mode_, now_);
}

HbmCommand HbmChannel::command_to(HbmCommand::Kind kind, std::uint32_t half, std::uint32_t bank) const {
  HbmCommand command;
  command.kind = kind;
  command.time = now_;
  command.at.pseudo_channel = static_cast<std::uint8_t>(half);
  command.at.bank = static_cast<std::uint8_t>(bank);
  return command;
}

inline HbmCommand HbmChannel::issue_column(HbmTurn turn) {
  const bool write = mode_ == kHbmWrite;
  HbmCommand command =
      command_to(write ? HbmCommand::Kind::write : HbmCommand::Kind::read, half_of(turn), bank_of(turn));
  const HbmSlots::Id id = halves_[half_of(turn)].column(slots_, bank_of(turn), now_);
  const HbmSlots::Slot& slot = slots_[id];
  column_from_ = whole_clock(now_ + ticks_.bus_column);
  if (!slot.activated) --queued_[mode_];
  --pending_[mode_];
  command.row_hit = !slot.activated;
  command.at.row = slot.row;
  command.at.column = slot.column;
  command.at.write = write;
  command.arrival = slot.arrival;
  command.done = now_ + ticks_.burst + (write ? ticks_.cwl : ticks_.cl + ticks_.pipeline);
  slots_.release(id);
  return command;
}

inline HbmCommand HbmChannel::issue_activate(HbmTurn turn) {
  HbmCommand command = command_to(HbmCommand::Kind::activate, half_of(turn), bank_of(turn));
  HbmSlots::Slot& asker = slots_[halves_[half_of(turn)].activate(slots_, bank_of(turn), now_)];
  if (!asker.activated) --queued_[mode_];
  asker.activated = true;
  command.at.row = asker.row;
  take_row_bus(now_ + ticks_.bus_activate);
  return command;
}

inline HbmCommand HbmChannel::issue_precharge(HbmTurn turn) {
  HbmPseudoChannel& half = halves_[half_of(turn)];
  HbmCommand command = command_to(HbmCommand::Kind::precharge, half_of(turn), bank_of(turn));
  command.at.row = half.row(bank_of(turn));
  half.precharge(slots_, bank_of(turn), now_);
  take_row_bus(now_ + ticks_.bus_precharge);
  return command;
}

HbmCommand HbmChannel::issue(HbmTick until) {
  for (;;) {
    if (pending_[kHbmWrite] > 0 || mode_ == kHbmWrite)  // or there is nothing to choose
      if (const HbmMode wanted = mode_wanted(); wanted != mode_) serve(wanted);
    HbmPseudoChannel &a = halves_[0], &b = halves_[1];
    const HbmTick column = std::max(std::min(a.column_start(), b.column_start()), column_from_);
    const HbmTick activate = std::max(std::min(a.activate_start(), b.activate_start()), activate_from_);
    const HbmTick precharge = std::max(std::min(a.precharge_start(), b.precharge_start()), precharge_from_);
    const HbmTick next = std::min({column, activate, precharge});
    if (next >= maintenance_from_) {
      const auto [half, at] = next_maintenance();
      if (at <= next) {
        if (at > until || at >= kHbmNever) return {};
        now_ = at;
        if (halves_[half].refreshing()) return issue_maintenance(half);
        halves_[half].begin_refresh();
        maintenance_from_ = 0;
        continue;
      }
    }
    if (next > until || next >= kHbmNever) return {};
    now_ = next;
    // Of two that start together the column goes first, then the older. A bank whose group has been used
    // meanwhile waits on, so there may be nobody.
    if (column == next)
      if (const HbmTurn turn = hbm_first(a.column_turn(next), b.column_turn(next)); turn != kHbmNobody)
        return issue_column(turn);
    HbmTurn opens = kHbmNobody, closes = kHbmNobody;
    if (activate == next) opens = hbm_first(a.activate_turn(next), b.activate_turn(next));
    if (precharge == next) closes = hbm_first(a.precharge_turn(next), b.precharge_turn(next));
    if (opens < closes) return issue_activate(opens);
    if (closes != kHbmNobody) return issue_precharge(closes);
  }
}

// The pseudo-channel whose refresh is next, and when: the moment it is due, or
// its next command on that way.
std::pair<std::uint32_t, HbmTick> HbmChannel::next_maintenance() const {
  std::pair<std::uint32_t, HbmTick> first{0, kHbmNever};
  for (std::uint32_t i = 0; i < halves_.size(); ++i) {
    const HbmPseudoChannel& half = halves_[i];
    HbmTick at = std::max(half.refresh_due, now_);
    if (half.refreshing()) {
      const bool close = half.any_open();
      HbmTick ready = close ? half.precharge_all_time() : half.refresh_time();
      ready = std::max(ready, now_);
      at = close ? std::max(align_up(ready, ticks_.precharge_grain), precharge_from_)
                 : std::max(whole_clock(ready), activate_from_);
    }
    if (at < first.second) first = {i, at};
  }
  return first;
}

// Closes what is open, then refreshes.
HbmCommand HbmChannel::issue_maintenance(std::uint32_t index) {
  HbmPseudoChannel& half = halves_[index];
  const bool close = half.any_open();
  if (close) {
    half.precharge_all(slots_, now_);
    take_row_bus(now_ + ticks_.bus_precharge);
    return command_to(HbmCommand::Kind::precharge_all, index, 0);
  }
  take_row_bus(now_ + ticks_.bus_refresh);
  half.refresh(now_);
  maintenance_from_ = kHbmNever;
  for (const HbmPseudoChannel& h : halves_)
    maintenance_from_ = std::min(maintenance_from_, h.refreshing() ? 0 : h.refresh_due);
  return command_to(HbmCommand::Kind::refresh, index, 0);
}

}  // namespace tessera
