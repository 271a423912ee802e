#include "sim/memory/hbm/channel.hpp"

namespace tessera {
namespace {

// Grains are one half clock or two.
HbmTick align_up(HbmTick time, HbmTick grain) { return (time + grain - 1) & -grain; }
HbmTick whole_clock(HbmTick time) { return align_up(time, 2); }

std::size_t slots_needed(const HbmSpec& spec) {
  // Each bank may hold one read and one write that have left their queue.
  const std::int64_t banks = spec.organisation.pseudo_channels * spec.organisation.banks_per_pseudo_channel();
  return static_cast<std::size_t>(spec.controller.read_queue + spec.controller.write_queue + 2 * banks);
}

}  // namespace

HbmChannel::HbmChannel(const HbmSpec& spec, bool refresh)
    : ticks_(spec),
      slots_(slots_needed(spec)),
      capacity_{spec.controller.read_queue, spec.controller.write_queue},
      drain_high_(spec.controller.drain_high),
      drain_low_(spec.controller.drain_low) {
  for (std::uint32_t i = 0; i < ticks_.pseudo_channels; ++i) {
    halves_.emplace_back(ticks_);
    if (!refresh) halves_.back().refresh_due = kHbmNever;
  }
  maintenance_from_ = halves_.front().refresh_due;
}

void HbmChannel::enqueue(const HbmRequest& request, HbmTick now) {
  TESSERA_CHECK(now >= now_, "a request arrived before a command that is already out");
  TESSERA_CHECK(has_room(request.write), "a request was queued without room for it");
  now_ = now;
  const HbmMode mode = request.write ? kHbmWrite : kHbmRead;
  const HbmSlots::Id id = slots_.take();
  HbmSlots::Slot& slot = slots_[id];
  slot.arrival = now;
  slot.age = arrivals_++;
  slot.row = request.row;
  slot.column = request.column;
  slot.activated = false;
  ++queued_[mode];
  ++pending_[mode];
  halves_[request.pseudo_channel].enqueue(slots_, id, request.bank, mode);
}

void HbmChannel::choose_mode() {
  const bool reads = pending_[kHbmRead] > 0;
  const bool writes = pending_[kHbmWrite] > 0;
  HbmMode next = mode_;
  if (mode_ == kHbmRead && (queued_[kHbmWrite] >= drain_high_ || (writes && !reads))) next = kHbmWrite;
  if (mode_ == kHbmWrite && reads && pending_[kHbmWrite] <= drain_low_) next = kHbmRead;
  if (next == mode_) return;
  mode_ = next;
  for (HbmPseudoChannel& half : halves_) half.serve(slots_, mode_);
}

HbmCommand HbmChannel::issue(HbmTick until) {
  for (;;) {
    choose_mode();
    const HbmTick column_from = whole_clock(std::max(column_bus_, now_));
    const HbmTick row_bus = std::max(row_bus_, now_);
    const HbmTick activate_from = whole_clock(row_bus);
    const HbmTick precharge_from = align_up(row_bus, ticks_.precharge_grain);
    Next column, row;
    for (std::uint32_t i = 0; i < ticks_.pseudo_channels; ++i) {
      HbmPseudoChannel& half = halves_[i];
      if (half.refreshing) continue;
      column.consider(half.column_offer(column_from), i, false);
      row.consider(half.activate_offer(activate_from), i, true);
      row.consider(half.precharge_offer(precharge_from), i, false);
    }
    const HbmTick next = std::min(column.time, row.time);
    if (next >= maintenance_from_) {
      const auto [half, at] = next_maintenance();
      if (at <= next) {
        if (at > until || at >= kHbmNever) return {};
        now_ = at;
        if (halves_[half].refreshing) return issue_maintenance(half);
        halves_[half].refreshing = true;
        maintenance_from_ = 0;
        continue;
      }
    }
    if (next > until || next >= kHbmNever) return {};
    now_ = next;
    if (column.time <= next) return issue_column(halves_[column.half], column.bank);
    return row.opens ? issue_activate(halves_[row.half], row.bank)
                     : issue_precharge(halves_[row.half], row.bank);
  }
}

// The pseudo-channel whose refresh is next, and when: the moment it is due, or
// its next command on that way.
std::pair<std::uint32_t, HbmTick> HbmChannel::next_maintenance() const {
  std::pair<std::uint32_t, HbmTick> first{0, kHbmNever};
  for (std::uint32_t i = 0; i < halves_.size(); ++i) {
    const HbmPseudoChannel& half = halves_[i];
    HbmTick at = std::max(half.refresh_due, now_);
    if (half.refreshing) {
      const bool close = half.any_open();
      const HbmTick ready = close ? half.precharge_all_time() : half.refresh_time();
      at = align_up(std::max({ready, row_bus_, now_}), close ? ticks_.precharge_grain : 2);
    }
    if (at < first.second) first = {i, at};
  }
  return first;
}

HbmCommand HbmChannel::command_to(HbmCommand::Kind kind, const HbmPseudoChannel& half,
                                  std::uint32_t bank) const {
  HbmCommand command;
  command.kind = kind;
  command.time = now_;
  command.at.pseudo_channel = static_cast<std::uint8_t>(&half - halves_.data());
  command.at.bank = static_cast<std::uint8_t>(bank);
  return command;
}

HbmCommand HbmChannel::issue_column(HbmPseudoChannel& half, std::uint32_t bank) {
  const bool write = mode_ == kHbmWrite;
  HbmCommand command = command_to(write ? HbmCommand::Kind::write : HbmCommand::Kind::read, half, bank);
  const HbmSlots::Id id = half.column(slots_, bank, now_);
  const HbmSlots::Slot& slot = slots_[id];
  column_bus_ = now_ + ticks_.bus_column;
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

HbmCommand HbmChannel::issue_activate(HbmPseudoChannel& half, std::uint32_t bank) {
  HbmCommand command = command_to(HbmCommand::Kind::activate, half, bank);
  HbmSlots::Slot& asker = slots_[half.activate(slots_, bank, now_)];
  if (!asker.activated) --queued_[mode_];
  asker.activated = true;
  row_bus_ = now_ + ticks_.bus_activate;
  command.at.row = asker.row;
  return command;
}

HbmCommand HbmChannel::issue_precharge(HbmPseudoChannel& half, std::uint32_t bank) {
  HbmCommand command = command_to(HbmCommand::Kind::precharge, half, bank);
  command.at.row = half.row(bank);
  half.precharge(slots_, bank, now_);
  row_bus_ = now_ + ticks_.bus_precharge;
  return command;
}

// Closes what is open, then refreshes.
HbmCommand HbmChannel::issue_maintenance(std::uint32_t index) {
  HbmPseudoChannel& half = halves_[index];
  const bool close = half.any_open();
  if (close) {
    half.precharge_all(slots_, now_);
    row_bus_ = now_ + ticks_.bus_precharge;
    return command_to(HbmCommand::Kind::precharge_all, half, 0);
  }
  half.refresh(now_);
  row_bus_ = now_ + ticks_.bus_refresh;
  maintenance_from_ = kHbmNever;
  for (const HbmPseudoChannel& h : halves_)
    maintenance_from_ = std::min(maintenance_from_, h.refreshing ? 0 : h.refresh_due);
  return command_to(HbmCommand::Kind::refresh, half, 0);
}

}  // namespace tessera
