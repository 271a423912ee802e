// Plays a pattern against a channel and counts what happened.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "sim/memory/hbm/channel.hpp"
#include "sim/memory/hbm/patterns.hpp"

namespace tessera {

struct HbmRun {
  using Kind = HbmCommand::Kind;
  std::array<std::int64_t, HbmCommand::kKinds> commands{};
  std::array<HbmTick, HbmCommand::kKinds> waited{};  // sums, from arrival in the queue to the last data
  std::int64_t row_hits = 0;                         // reads and writes that found their row open
  HbmTick elapsed = 0;                               // until the last data

  [[nodiscard]] std::int64_t of(Kind kind) const { return commands[static_cast<std::size_t>(kind)]; }
  [[nodiscard]] std::int64_t reads() const { return of(Kind::read); }
  [[nodiscard]] std::int64_t writes() const { return of(Kind::write); }
  [[nodiscard]] std::int64_t requests() const { return reads() + writes(); }
  [[nodiscard]] std::int64_t activates() const { return of(Kind::activate); }
  // Rows closed because another row of the bank was wanted.
  [[nodiscard]] std::int64_t row_conflicts() const { return of(Kind::precharge); }
  [[nodiscard]] std::int64_t refreshes() const { return of(Kind::refresh); }
  [[nodiscard]] HbmTick read_latency() const { return waited[static_cast<std::size_t>(Kind::read)]; }
  void count(const HbmCommand& command) {  // without branches: which kind comes next is hard to foresee
    const auto kind = static_cast<std::size_t>(command.kind);
    ++commands[kind];
    waited[kind] += command.done - command.arrival;
    row_hits += command.row_hit;
    elapsed = std::max(elapsed, command.done);
  }
};

// As many requests as the queues take, always: what the channel can do.
template <class Pattern>
HbmRun run_saturated(HbmChannel& channel, Pattern pattern, std::int64_t requests) {
  HbmRun run;
  HbmTick now = 0;
  HbmRequest waiting = pattern.next();
  for (std::int64_t sent = 0; run.requests() < requests;) {
    while (sent < requests && channel.has_room(waiting.write)) {
      channel.enqueue(waiting, now);
      waiting = pattern.next();
      ++sent;
    }
    const HbmCommand command = channel.issue();
    now = command.time;
    run.count(command);
  }
  return run;
}

// One request at a time, the next when the last has its data: what one access costs an idle channel.
template <class Pattern>
HbmRun run_chain(HbmChannel& channel, Pattern pattern, std::int64_t requests) {
  HbmRun run;
  HbmTick now = 0;
  while (run.requests() < requests) {
    channel.enqueue(pattern.next(), now);
    while (channel.pending() > 0) run.count(channel.issue());
    // What is due meanwhile (a refresh) goes out before the next request arrives.
    for (HbmCommand command = channel.issue(run.elapsed); command.kind != HbmCommand::Kind::none;
         command = channel.issue(run.elapsed))
      run.count(command);
    now = run.elapsed;
  }
  return run;
}

struct HbmFigures {
  double gb_s = 0, percent_of_peak = 0, mean_latency_ns = 0;
};
HbmFigures figures_of(const HbmSpec& spec, const HbmRun& run);

}  // namespace tessera
