#include "sim/memory/hbm/channel.hpp"

namespace tessera {
namespace {

constexpr HbmTick kClock = 2;  // half clocks

HbmTick align_up(HbmTick time, HbmTick grain) { return (time + grain - 1) / grain * grain; }

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
  for (HbmPseudoChannel& half : halves_) half.forget_times();
}

HbmTick HbmChannel::on_row_bus(HbmTick ready, HbmTick grain) const {
  return align_up(std::max({ready, row_bus_, now_}), grain);
}

HbmTick HbmChannel::maintenance_time(const HbmPseudoChannel& half) const {
  if (!half.refreshing) return std::max(half.refresh_due, now_);
  return half.any_open() ? on_row_bus(half.precharge_all_time(), ticks_.precharge_grain)
                         : on_row_bus(half.refresh_time(), kClock);
}

HbmCommand HbmChannel::issue(HbmTick until) {
  for (;;) {
    choose_mode();
    HbmTick column = kHbmNever, row = kHbmNever, maintenance = kHbmNever;
    std::uint32_t due = 0;
    for (std::uint32_t i = 0; i < halves_.size(); ++i) {
      HbmPseudoChannel& half = halves_[i];
      if (const HbmTick at = maintenance_time(half); at < maintenance) {
        maintenance = at;
        due = i;
      }
      if (half.refreshing) continue;
      column = std::min(column, half.column_time(mode_));
      row = std::min({row, on_row_bus(half.activate_time(mode_), kClock),
                      on_row_bus(half.precharge_time(mode_), ticks_.precharge_grain)});
    }
    column = align_up(std::max({column, column_bus_, now_}), kClock);
    const HbmTick next = std::min({column, row, maintenance});
    if (next > until || next >= kHbmNever) return {};
    now_ = next;
    if (maintenance <= next) {
      HbmPseudoChannel& half = halves_[due];
      if (half.refreshing) return issue_maintenance(half, due, next);
      half.refreshing = true;
      continue;
    }
    return column <= next ? issue_column(next) : issue_row(next);
  }
}

HbmCommand HbmChannel::issue_column(HbmTick now) {
  HbmPseudoChannel::Choice best;
  std::uint32_t index = 0;
  for (std::uint32_t i = 0; i < halves_.size(); ++i) {
    if (halves_[i].refreshing || halves_[i].column_time(mode_) > now) continue;
    if (const auto choice = halves_[i].oldest_column(mode_, now); choice.age < best.age) {
      best = choice;
      index = i;
    }
  }
  TESSERA_CHECK(best.age != HbmPseudoChannel::kNobody, "a read or write was due and nobody is ready");
  HbmPseudoChannel& half = halves_[index];
  const HbmSlots::Id id = half.column(slots_, best.bank, mode_, now);
  const HbmSlots::Slot& slot = slots_[id];
  column_bus_ = now + ticks_.bus_column;
  if (!slot.activated) --queued_[mode_];
  --pending_[mode_];

  HbmCommand command;
  command.kind = mode_ == kHbmWrite ? HbmCommand::Kind::write : HbmCommand::Kind::read;
  command.row_hit = !slot.activated;
  command.at = {slot.row, slot.column, static_cast<std::uint8_t>(best.bank), static_cast<std::uint8_t>(index),
                mode_ == kHbmWrite};
  command.time = now;
  command.arrival = slot.arrival;
  command.done = now + ticks_.burst + (mode_ == kHbmWrite ? ticks_.cwl : ticks_.cl + ticks_.pipeline);
  slots_.release(id);
  return command;
}

HbmCommand HbmChannel::issue_row(HbmTick now) {
  HbmPseudoChannel::Choice best;
  std::uint32_t index = 0;
  bool opens = false;
  for (std::uint32_t i = 0; i < halves_.size(); ++i) {
    HbmPseudoChannel& half = halves_[i];
    if (half.refreshing) continue;
    if (now % kClock == 0 && half.activate_time(mode_) <= now)
      if (const auto choice = half.oldest_activate(mode_, now); choice.age < best.age) {
        best = choice;
        index = i;
        opens = true;
      }
    if (now % ticks_.precharge_grain == 0 && half.precharge_time(mode_) <= now)
      if (const auto choice = half.oldest_precharge(mode_, now); choice.age < best.age) {
        best = choice;
        index = i;
        opens = false;
      }
  }
  TESSERA_CHECK(best.age != HbmPseudoChannel::kNobody, "a row command was due and nobody is ready");
  HbmPseudoChannel& half = halves_[index];
  HbmCommand command;
  command.time = now;
  command.at.pseudo_channel = static_cast<std::uint8_t>(index);
  command.at.bank = static_cast<std::uint8_t>(best.bank);
  command.at.row = half.row(best.bank);
  if (!opens) {
    half.precharge(slots_, best.bank, now);
    row_bus_ = now + ticks_.bus_precharge;
    command.kind = HbmCommand::Kind::precharge;
    return command;
  }
  HbmSlots::Slot& asker = slots_[half.activate(slots_, best.bank, mode_, now)];
  if (!asker.activated) --queued_[mode_];
  asker.activated = true;
  row_bus_ = now + ticks_.bus_activate;
  command.kind = HbmCommand::Kind::activate;
  command.at.row = asker.row;
  command.at.column = asker.column;
  return command;
}

HbmCommand HbmChannel::issue_maintenance(HbmPseudoChannel& half, std::uint32_t index, HbmTick now) {
  HbmCommand command;
  command.time = now;
  command.at.pseudo_channel = static_cast<std::uint8_t>(index);
  if (half.any_open()) {
    half.precharge_all(slots_, now);
    row_bus_ = now + ticks_.bus_precharge;
    command.kind = HbmCommand::Kind::precharge_all;
  } else {
    half.refresh(now);
    row_bus_ = now + ticks_.bus_refresh;
    command.kind = HbmCommand::Kind::refresh;
  }
  return command;
}

}  // namespace tessera
