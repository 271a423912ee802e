#include "sim/serving/closed_loop.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/base/units.hpp"
#include "sim/serving/action_order.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kPerClient = 10;

class EqualRequests final : public TraceReader {
 public:
  explicit EqualRequests(const ClosedLoopConfig& config) {
    request_.input_tokens = static_cast<std::int32_t>(*config.input_tokens);
    request_.output_tokens = static_cast<std::int32_t>(*config.output_tokens);
    info_.requests = config.requests.value_or(kPerClient * config.concurrency);
    info_.format = "closed loop";
    info_.file = fmt::format("{} clients, {} + {} tokens", config.concurrency, request_.input_tokens,
                             request_.output_tokens);
    info_.has_arrivals = false;
  }
  bool next(Request& request) override {
    if (handed_ == info_.requests) return false;
    ++handed_;
    request = request_;
    return true;
  }
  [[nodiscard]] const TraceInfo& info() const override { return info_; }

 private:
  Request request_;
  TraceInfo info_;
  std::int64_t handed_ = 0;
};

}  // namespace

void ClosedLoopConfig::describe(Fields& f) {
  f.field("concurrency", concurrency,
          {.doc = "clients, each with one request in flight", .min = 1, .max = 1e6, .required = true});
  f.field("think_time_s", think_time_s,
          {.doc = "from an answer to the client's next request", .unit = "s", .min = 0, .max = 86400});
  f.field("requests", requests,
          {.doc = "requests in all, without a file; null: 10 a client", .min = 1, .max = 1e9});
  f.field("input_tokens", input_tokens,
          {.doc = "length of every prompt, without a file",
           .unit = "tokens",
           .min = 1,
           .max = static_cast<double>(kMaxTokens)});
  f.field("output_tokens", output_tokens,
          {.doc = "length of every answer, without a file",
           .unit = "tokens",
           .min = 1,
           .max = static_cast<double>(kMaxTokens)});
}

void ClosedLoopConfig::check_lengths(bool has_file) const {
  if (has_file && (requests || input_tokens || output_tokens))
    throw InputError(
        "trace.closed_loop: a file and lengths at once, expected trace.file or input_tokens, output_tokens "
        "and requests (trace.limit shortens a file)");
  if (!has_file && (!input_tokens || !output_tokens))
    throw InputError(
        fmt::format("trace.closed_loop.{}: missing, expected the length of every request, or trace.file",
                    input_tokens ? "output_tokens" : "input_tokens"));
}

std::unique_ptr<TraceReader> equal_requests(const ClosedLoopConfig& config) {
  return std::make_unique<EqualRequests>(config);
}

ClosedLoop::ClosedLoop(const ClosedLoopConfig& config, std::int64_t frontend_ps)
    : think_ps_(microseconds(config.think_time_s * 1e6).count()), frontend_ps_(frontend_ps) {
  for (std::int64_t i = 0; i < config.concurrency; ++i) due_.push(0);
}

void ClosedLoop::answered(std::int64_t at_ps) {
  if (at_ps >= Replica::kNever - think_ps_ - frontend_ps_)
    throw RunError("the closed loop runs past 106 days, the end of simulated time");
  due_.push(at_ps + think_ps_);
}

void ClosedLoop::play(std::span<const std::unique_ptr<Replica>> replicas, const Send& send) {
  ActionOrder order(replicas.size());
  for (std::size_t i = 0; i < replicas.size(); ++i) order.set(i, replicas[i]->next_action_ps());
  std::size_t turn = 0;
  while (true) {
    // The replica that acts next, and until when nothing from outside can reach it.
    std::int64_t limit = due_.empty() ? Replica::kNever : due_.top() + frontend_ps_;
    if (order.first_ps() < limit) {
      const std::size_t first = order.first();
      if (const std::int64_t other = order.second_ps(); other != Replica::kNever)
        limit = std::min(limit, other + 1);
      if (!replicas[first]->advance_once(limit)) return;  // stopped
      order.set(first, replicas[first]->next_action_ps());
      continue;
    }
    if (due_.empty()) return;  // every client has left
    const std::int64_t arrival = due_.top();
    due_.pop();
    Sent sent = Sent::rejected;
    while (sent == Sent::rejected) {
      const std::size_t to = turn++ % replicas.size();
      sent = send(arrival, *replicas[to]);
      order.set(to, replicas[to]->next_action_ps());
    }
    if (sent == Sent::none) return;
  }
}

}  // namespace tessera
