// The policy of HbmChannel in its plainest form: every half clock, walk all requests from the oldest on and
// issue what the checker lets pass. Command for command the same as the event-driven scheduler, thousands of
// times slower.
#pragma once

#include <cmath>
#include <list>
#include <vector>

#include "tests/support/hbm_checker.hpp"

namespace tessera::test {

class SlowHbmChannel {
 public:
  explicit SlowHbmChannel(const HbmSpec& spec) : spec_(spec), checker_(spec) {
    for (std::int64_t i = 0; i < spec.organisation.pseudo_channels; ++i)
      halves_.push_back({.due = 2 * spec.timing.refi, .refreshing = false});
  }

  [[nodiscard]] bool has_room(bool write) const {
    return queued(write) < (write ? spec_.controller.write_queue : spec_.controller.read_queue);
  }
  [[nodiscard]] bool idle() const { return requests_.empty(); }
  void enqueue(const HbmRequest& request, HbmTick now) {
    requests_.push_back({request, now, false});
    now_ = now;
  }

  // The next command not later than `until`.
  HbmCommand issue(HbmTick until) {
    for (; now_ <= until; ++now_) {
      choose_mode();
      for (Half& half : halves_) half.refreshing = half.refreshing || now_ >= half.due;
      HbmCommand command;
      if (refresh(command) || (now_ % 2 == 0 && column(command)) || row(command)) return command;
    }
    now_ = until;
    return {};
  }

 private:
  struct Waiting {
    HbmRequest request;
    HbmTick arrival = 0;
    bool activated = false;
  };
  struct Half {
    HbmTick due = 0;
    bool refreshing = false;
  };

  [[nodiscard]] std::int64_t queued(bool write) const {
    return std::count_if(requests_.begin(), requests_.end(),
                         [&](const Waiting& w) { return w.request.write == write && !w.activated; });
  }
  [[nodiscard]] std::int64_t pending(bool write) const {
    return std::count_if(requests_.begin(), requests_.end(),
                         [&](const Waiting& w) { return w.request.write == write; });
  }
  void choose_mode() {
    const std::int64_t reads = pending(false), writes = pending(true);
    if (!writing_)
      writing_ = queued(true) >= spec_.controller.drain_high || (writes > 0 && reads == 0);
    else
      writing_ = reads == 0 || writes > spec_.controller.drain_low;
  }
  // A precharge that takes a fraction of a clock may start at half clocks.
  [[nodiscard]] bool precharge_edge() const {
    return now_ % 2 == 0 || std::fmod(spec_.command_bus.precharge, 1) != 0;
  }
  bool pass(HbmCommand& command, HbmCommand::Kind kind, const HbmRequest& at) {
    command = {};
    command.kind = kind;
    command.at = at;
    command.time = now_;
    return checker_.check(command).empty();
  }

  bool refresh(HbmCommand& command) {
    for (std::size_t i = 0; i < halves_.size(); ++i) {
      if (!halves_[i].refreshing) continue;
      HbmRequest at;
      at.pseudo_channel = static_cast<std::uint8_t>(i);
      if (checker_.any_open(at.pseudo_channel)) {
        if (precharge_edge() && pass(command, HbmCommand::Kind::precharge_all, at)) return true;
      } else if (now_ % 2 == 0 && pass(command, HbmCommand::Kind::refresh, at)) {
        halves_[i] = {halves_[i].due + 2 * spec_.timing.refi, false};
        return true;
      }
    }
    return false;
  }

  [[nodiscard]] bool hits(const HbmRequest& r) const {
    return checker_.row(r.pseudo_channel, r.bank) == r.row;
  }

  bool column(HbmCommand& command) {
    for (auto w = requests_.begin(); w != requests_.end(); ++w) {
      const HbmRequest& r = w->request;
      if (r.write != writing_ || halves_[r.pseudo_channel].refreshing || !hits(r)) continue;
      if (!pass(command, writing_ ? HbmCommand::Kind::write : HbmCommand::Kind::read, r)) continue;
      command.arrival = w->arrival;
      command.row_hit = !w->activated;
      requests_.erase(w);
      return true;
    }
    return false;
  }

  bool row(HbmCommand& command) {
    for (Waiting& w : requests_) {
      const HbmRequest& r = w.request;
      if (r.write != writing_ || halves_[r.pseudo_channel].refreshing || hits(r)) continue;
      if (const auto open = checker_.row(r.pseudo_channel, r.bank)) {
        const bool wanted = std::any_of(requests_.begin(), requests_.end(), [&](const Waiting& other) {
          const HbmRequest& o = other.request;
          return o.write == writing_ && o.pseudo_channel == r.pseudo_channel && o.bank == r.bank && hits(o);
        });
        HbmRequest closed = r;
        closed.row = *open;
        if (!wanted && precharge_edge() && pass(command, HbmCommand::Kind::precharge, closed)) return true;
      } else if (now_ % 2 == 0 && pass(command, HbmCommand::Kind::activate, r)) {
        w.activated = true;
        return true;
      }
    }
    return false;
  }

  HbmSpec spec_;
  HbmChecker checker_;
  std::list<Waiting> requests_;  // oldest first
  std::vector<Half> halves_;
  bool writing_ = false;
  HbmTick now_ = 0;
};

}  // namespace tessera::test
