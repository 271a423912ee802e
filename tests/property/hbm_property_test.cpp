// The HBM channel over random memories and random requests: every command legal, every request served once,
// and command for command what a plain tick-by-tick version does.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

#include "sim/engine/random.hpp"
#include "sim/memory/hbm/channel.hpp"
#include "sim/memory/hbm/patterns.hpp"
#include "tests/support/slow_hbm_channel.hpp"

namespace tessera {
namespace {

std::int64_t any(std::int64_t low, std::int64_t high) { return *rc::gen::inRange(low, high + 1); }

// A memory nobody sells: short rows, few banks, timings in any proportion.
HbmSpec any_memory() {
  HbmSpec s;
  const std::int64_t stack_ids = any(1, 4), groups = any(1, 8);
  const std::int64_t banks = any(1, std::min<std::int64_t>(8, 64 / (stack_ids * groups)));
  s.organisation = {any(1, 2), stack_ids, groups, banks, any(2, 6), any(1, 8), 32};
  HbmTiming& t = s.timing;
  t.burst = any(1, 3);
  t.cl = any(1, 20);
  t.cwl = any(1, t.cl);
  t.rcd_read = any(1, 20);
  t.rcd_write = any(1, 20);
  t.rp = any(1, 20);
  t.ras = any(1, 30);
  t.rc = any(1, 60);
  t.wr = any(1, 20);
  t.rtp = any(1, 10);
  t.ccd_short = any(t.burst, t.burst + 2);
  t.ccd_long = any(t.ccd_short, t.ccd_short + 4);
  t.ccd_stack = any(t.burst, t.burst + 4);
  t.rrd_short = any(1, 8);
  t.rrd_long = any(t.rrd_short, 10);
  t.faw = any(1, 40);
  t.wtr_short = any(1, 10);
  t.wtr_long = any(t.wtr_short, 12);
  t.rtw = any(t.cl + t.burst - t.cwl, 30);
  t.rfc = any(1, 100);
  t.refi = any(300, 1000);
  const double halves[] = {0.5, 1, 1.5, 2};
  s.command_bus.activate = halves[any(0, 3)];
  s.command_bus.precharge = halves[any(0, 3)];
  s.command_bus.refresh = halves[any(0, 3)];
  s.command_bus.column = halves[any(0, 3)];
  HbmController& c = s.controller;
  c.read_queue = any(1, 40);
  c.write_queue = any(1, 40);
  c.drain_high = any(1, c.write_queue);
  c.drain_low = any(0, c.drain_high - 1);
  return s;
}

// Requests over few rows of few banks, so that hits, conflicts and turnarounds are common; they come in
// bursts.
class AnyRequests {
 public:
  AnyRequests(const HbmSpec& spec, std::uint64_t seed)
      : spec_(spec), random_(seed, 0), write_percent_(below(101)), pause_percent_(below(30)) {}
  HbmRequest next() {
    HbmRequest r;
    r.pseudo_channel = static_cast<std::uint8_t>(below(spec_.organisation.pseudo_channels));
    r.bank = static_cast<std::uint8_t>(below(spec_.organisation.banks_per_pseudo_channel()));
    r.row = static_cast<std::uint32_t>(below(spec_.organisation.rows));
    r.column = static_cast<std::uint16_t>(below(spec_.organisation.bursts_per_row));
    r.write = below(100) < write_percent_;
    return r;
  }
  // Half clocks until the next request may come: mostly at once.
  HbmTick pause() { return below(100) < pause_percent_ ? below(800) : 0; }

 private:
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
  }
  const HbmSpec& spec_;
  sim::RandomStream random_;
  std::int64_t write_percent_, pause_percent_;
};

// Plays `count` requests; `see` gets every command. Channel is the fast or the slow one.
template <class Channel, class See>
void play(Channel& channel, AnyRequests requests, int count, See see) {
  HbmTick now = 0;
  HbmRequest next = requests.next();
  HbmTick from = 0;  // when it may come
  for (int sent = 0, served = 0; served < count;) {
    while (sent < count && channel.has_room(next.write) && from <= now) {
      channel.enqueue(next, now);
      from = now + requests.pause();
      next = requests.next();
      ++sent;
    }
    const bool blocked = sent == count || !channel.has_room(next.write);
    const HbmCommand command = channel.issue(blocked ? kHbmNever - 1 : from);
    if (command.kind == HbmCommand::Kind::none) {
      now = from;
      continue;
    }
    now = command.time;
    served += command.kind == HbmCommand::Kind::read || command.kind == HbmCommand::Kind::write;
    see(command);
  }
}

auto key(const HbmRequest& r) { return std::tuple(r.pseudo_channel, r.bank, r.row, r.column, r.write); }

RC_GTEST_PROP(HbmChannelProperty, EveryCommandObeysEveryConstraint, ()) {
  const HbmSpec spec = any_memory();
  const AnyRequests requests(spec, *rc::gen::arbitrary<std::uint64_t>());
  test::HbmChecker checker(spec);
  HbmChannel channel(spec);
  HbmTick last_refresh = 0;
  play(channel, requests, 600, [&](const HbmCommand& command) {
    RC_ASSERT(checker.check(command) == "");
    if (command.kind != HbmCommand::Kind::refresh || command.at.pseudo_channel != 0) return;
    // On average one per interval; a single one waits for open rows to close and for the other half.
    RC_ASSERT(command.time - last_refresh <= 2 * (spec.timing.refi + 200));
    last_refresh = command.time;
  });
}

RC_GTEST_PROP(HbmChannelProperty, EveryRequestIsServedOnceAndNeverBeforeItArrives, ()) {
  const HbmSpec spec = any_memory();
  const AnyRequests requests(spec, *rc::gen::arbitrary<std::uint64_t>());
  constexpr int kRequests = 600;
  std::map<decltype(key(HbmRequest{})), int> left;
  AnyRequests sent = requests;
  for (int i = 0; i < kRequests; ++i, sent.pause()) ++left[key(sent.next())];
  HbmChannel channel(spec);
  play(channel, requests, kRequests, [&](const HbmCommand& command) {
    if (command.kind != HbmCommand::Kind::read && command.kind != HbmCommand::Kind::write) return;
    RC_ASSERT(--left[key(command.at)] >= 0);
    RC_ASSERT(command.arrival <= command.time);
    RC_ASSERT(command.done > command.time);
  });
  RC_ASSERT(channel.pending() == 0);
  for (const auto& [request, count] : left) RC_ASSERT(count == 0);
}

RC_GTEST_PROP(HbmChannelProperty, AgreesCommandForCommandWithAPlainTickingVersion, ()) {
  const HbmSpec spec = any_memory();
  const AnyRequests requests(spec, *rc::gen::arbitrary<std::uint64_t>());
  constexpr int kRequests = 60;
  std::vector<HbmCommand> fast, slow;
  HbmChannel channel(spec);
  play(channel, requests, kRequests, [&](const HbmCommand& command) { fast.push_back(command); });
  test::SlowHbmChannel plain(spec);
  play(plain, requests, kRequests, [&](const HbmCommand& command) { slow.push_back(command); });
  for (std::size_t i = 0; i < std::min(fast.size(), slow.size()); ++i) {
    RC_ASSERT(test::HbmChecker::describe(fast[i]) == test::HbmChecker::describe(slow[i]));
    if (fast[i].kind != HbmCommand::Kind::read && fast[i].kind != HbmCommand::Kind::write) continue;
    RC_ASSERT(fast[i].at.column == slow[i].at.column);
    RC_ASSERT(fast[i].arrival == slow[i].arrival);
    RC_ASSERT(fast[i].row_hit == slow[i].row_hit);
  }
  RC_ASSERT(fast.size() == slow.size());
}

}  // namespace
}  // namespace tessera
