#include "sim/memory/hbm/channel.hpp"

namespace tessera {
namespace {

// Grains are one half clock or two.
HbmTick align_up(HbmTick time, HbmTick grain) { return (time + grain - 1) & -grain; }
HbmTick whole_clock(HbmTick time) { return align_up(time, 2); }

// Claims are younger than this: their times fit.
constexpr HbmTick kEpoch = HbmTick{1} << 20;

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
  TESSERA_CHECK(ticks_.longest() < kHbmClaimTimes - 2 * kEpoch, "a bank's delay fits its claim");
  for (std::uint32_t i = 0; i < ticks_.pseudo_channels; ++i) {
    halves_.emplace_back(ticks_, i);
    if (!refresh) halves_.back().refresh_due = kHbmNever;
  }
  maintenance_from_ = halves_.front().refresh_due;
}

HbmBusTimes HbmChannel::bus_times() const {
  const HbmTick row_bus = std::max(row_bus_, now_);
  return {whole_clock(std::max(column_bus_, now_)), whole_clock(row_bus),
          align_up(row_bus, ticks_.precharge_grain), epoch_};
}

void HbmChannel::compare() {
  column_ = row_ = kHbmNobody;
  for (const HbmPseudoChannel& half : halves_) {
    column_ = std::min(column_, half.column_claim());
    row_ = std::min(row_, half.row_claim());
  }
}

void HbmChannel::renew_columns() {
  const HbmBusTimes bus = bus_times();
  for (HbmPseudoChannel& half : halves_)
    if (!half.refreshing()) half.renew_column(bus);
  compare();
}

void HbmChannel::renew_rows() {
  const HbmBusTimes bus = bus_times();
  for (HbmPseudoChannel& half : halves_)
    if (!half.refreshing()) half.renew_row(bus);
  compare();
}

void HbmChannel::move_epoch() {
  epoch_ = now_;
  for (HbmPseudoChannel& half : halves_) half.renew_all(bus_times());
  compare();
}

void HbmChannel::enqueue(const HbmRequest& request, HbmTick now) {
  TESSERA_CHECK(now >= now_, "a request arrived before a command that is already out");
  TESSERA_CHECK(has_room(request.write), "a request was queued without room for it");
  TESSERA_CHECK(arrivals_ < kHbmClaimAges, "a channel counts at most 2^33 requests");
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
  // Commands that could have gone out but were not asked for until now.
  if (since_epoch(std::min(column_, row_)) < now - epoch_ || now - epoch_ > kEpoch) move_epoch();
  halves_[request.pseudo_channel].enqueue(slots_, id, request.bank, mode, bus_times());
  compare();
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
  for (HbmPseudoChannel& half : halves_) half.serve(slots_, mode_, bus_times());
  compare();
}

HbmCommand HbmChannel::issue(HbmTick until) {
  for (;;) {
    if (pending_[kHbmWrite] > 0 || mode_ == kHbmWrite)  // or there is nothing to choose
      if (const HbmMode wanted = mode_wanted(); wanted != mode_) serve(wanted);
    const HbmClaim first = std::min(column_, row_);
    const HbmTick next = first == kHbmNobody ? kHbmNever : epoch_ + since_epoch(first);
    if (next >= maintenance_from_) {
      const auto [half, at] = next_maintenance();
      if (at <= next) {
        if (at > until || at >= kHbmNever) return {};
        now_ = at;
        if (now_ - epoch_ > kEpoch) move_epoch();
        if (halves_[half].refreshing()) return issue_maintenance(half);
        halves_[half].begin_refresh();
        maintenance_from_ = 0;
        compare();
        continue;
      }
    }
    if (next > until || next >= kHbmNever) return {};
    now_ = next;
    if (now_ - epoch_ > kEpoch) move_epoch();
    // Of claims that start together a column goes first.
    if (since_epoch(column_) <= since_epoch(row_))
      return issue_column(halves_[half_of(column_)], bank_of(column_));
    HbmPseudoChannel& half = halves_[half_of(row_)];
    const std::uint32_t bank = bank_of(row_);
    return half.is_open(bank) ? issue_precharge(half, bank) : issue_activate(half, bank);
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
  const HbmSlots::Id id = half.column(slots_, bank, now_, bus_times());
  const HbmSlots::Slot& slot = slots_[id];
  column_bus_ = now_ + ticks_.bus_column;
  renew_columns();
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
  HbmSlots::Slot& asker = slots_[half.activate(slots_, bank, now_, bus_times())];
  if (!asker.activated) --queued_[mode_];
  asker.activated = true;
  row_bus_ = now_ + ticks_.bus_activate;
  renew_rows();
  command.at.row = asker.row;
  return command;
}

HbmCommand HbmChannel::issue_precharge(HbmPseudoChannel& half, std::uint32_t bank) {
  HbmCommand command = command_to(HbmCommand::Kind::precharge, half, bank);
  command.at.row = half.row(bank);
  half.precharge(slots_, bank, now_, bus_times());
  row_bus_ = now_ + ticks_.bus_precharge;
  renew_rows();
  return command;
}

// Closes what is open, then refreshes.
HbmCommand HbmChannel::issue_maintenance(std::uint32_t index) {
  HbmPseudoChannel& half = halves_[index];
  const bool close = half.any_open();
  if (close) {
    half.precharge_all(slots_, now_);
    row_bus_ = now_ + ticks_.bus_precharge;
    renew_rows();
    return command_to(HbmCommand::Kind::precharge_all, half, 0);
  }
  row_bus_ = now_ + ticks_.bus_refresh;
  half.refresh(now_, bus_times());
  renew_rows();
  maintenance_from_ = kHbmNever;
  for (const HbmPseudoChannel& h : halves_)
    maintenance_from_ = std::min(maintenance_from_, h.refreshing() ? 0 : h.refresh_due);
  return command_to(HbmCommand::Kind::refresh, half, 0);
}

}  // namespace tessera
