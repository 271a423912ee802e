// Clients that wait: each keeps one request in flight and sends its next one when the answer is complete.
//
// How many clients there are (the concurrency) sets the load; arrival times of a trace are not used. All
// clients start at 0; one that got its answer at t sends again at t + think_time_s, and the engine sees the
// request its frontend time later, so a step scheduled at t runs without it. A refused request costs no time.
// Requests come in the order of the trace, or are all alike. With several replicas they are dealt in turn.
//   trace: {closed_loop: {concurrency: 64, input_tokens: 1024, output_tokens: 128}}
//   trace: {file: lengths.csv, closed_loop: {concurrency: 64}}
// Left out: a ramp at the start, clients that give up.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <span>
#include <vector>

#include "models/base/spec.hpp"
#include "sim/serving/replica.hpp"
#include "traces/request.hpp"

namespace tessera {

struct ClosedLoopConfig {
  std::int64_t concurrency = 1;
  double think_time_s = 0;
  // Requests that are all alike, where no file gives them.
  std::optional<std::int64_t> requests;  // null: 10 for every client
  std::optional<std::int64_t> input_tokens, output_tokens;
  void describe(Fields& f);
  // Throws InputError if the lengths are missing, or given beside a file.
  void check_lengths(bool has_file) const;
};

// The requests of a closed loop without a file.
std::unique_ptr<TraceReader> equal_requests(const ClosedLoopConfig& config);

class ClosedLoop {
 public:
  // Sends the next request of the trace at `arrival_ps` to a replica: its rejection, if any; none at the
  // end.
  enum class Sent { accepted, rejected, none };
  using Send = std::function<Sent(std::int64_t arrival_ps, Replica& replica)>;

  ClosedLoop(const ClosedLoopConfig& config, std::int64_t frontend_ps);
  // To be called whenever a request finishes.
  void answered(std::int64_t at_ps);
  // Plays until `send` has nothing more to send; the replicas may still be busy then.
  void play(std::span<const std::unique_ptr<Replica>> replicas, const Send& send);

 private:
  std::int64_t think_ps_, frontend_ps_;
  std::priority_queue<std::int64_t, std::vector<std::int64_t>, std::greater<>>
      due_;  // clients' next arrivals
};

}  // namespace tessera
