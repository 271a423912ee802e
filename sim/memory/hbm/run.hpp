// Plays a pattern against a channel and counts what happened.
#pragma once

#include "sim/memory/hbm/channel.hpp"
#include "sim/memory/hbm/patterns.hpp"

namespace tessera {

struct HbmRun {
  std::int64_t reads = 0, writes = 0;
  std::int64_t row_hits = 0;  // reads and writes that found their row open
  std::int64_t activates = 0;
  std::int64_t row_conflicts = 0;  // rows closed because another row of the bank was wanted
  std::int64_t refreshes = 0;
  HbmTick read_latency = 0;  // sum, from arrival in the queue to the last data
  HbmTick elapsed = 0;       // until the last data

  [[nodiscard]] std::int64_t requests() const { return reads + writes; }
  void count(const HbmCommand& command) {
    switch (command.kind) {
      case HbmCommand::Kind::activate:
        ++activates;
        return;
      case HbmCommand::Kind::precharge:
        ++row_conflicts;
        return;
      case HbmCommand::Kind::refresh:
        ++refreshes;
        return;
      case HbmCommand::Kind::read:
        ++reads;
        read_latency += command.done - command.arrival;
        break;
      case HbmCommand::Kind::write:
        ++writes;
        break;
      default:
        return;
    }
    row_hits += command.row_hit ? 1 : 0;
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
