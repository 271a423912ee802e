#include "sim/report/timeline.hpp"

#include <fmt/format.h>

#include <iterator>
#include <nlohmann/json.hpp>

#include "sim/report/files.hpp"

namespace tessera {
namespace {

constexpr int kRequests = 1;
constexpr int kEngine = 2;  // the first; further replicas follow

// Chrome traces count in microseconds; picoseconds stay as the fraction, exactly.
std::string us(std::int64_t ps) { return fmt::format("{}.{:06}", ps / 1'000'000, ps % 1'000'000); }

}  // namespace

Timeline::Timeline(std::int64_t max_events) : left_(max_events) {
  events_ =
      fmt::format(R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":"requests"}}}})", kRequests);
}

// An engine is named before its first step.
void Timeline::name_engine(int engine) {
  const auto at = static_cast<std::size_t>(engine);
  if (at >= named_.size()) named_.resize(at + 1);
  if (named_[at]) return;
  named_[at] = true;
  fmt::format_to(std::back_inserter(events_),
                 R"(,
{{"ph":"M","pid":{0},"name":"process_name","args":{{"name":"engine {1}"}}}},
{{"ph":"M","pid":{0},"tid":1,"name":"thread_name","args":{{"name":"steps"}}}})",
                 kEngine + engine, engine);
}

bool Timeline::room() {
  if (left_ > 0) {
    --left_;
    return true;
  }
  ++dropped_;
  return false;
}

void Timeline::step(const StepRecord& s) {
  if (!room()) return;
  name_engine(s.engine);
  const char* kind = s.prefill_tokens == 0 ? "decode" : s.decodes == 0 ? "prefill" : "mixed";
  fmt::format_to(
      std::back_inserter(events_),
      ",\n{{\"ph\":\"X\",\"pid\":{},\"tid\":1,\"ts\":{},\"dur\":{},\"name\":\"{}\",\"args\":{{\"decodes\":{},"
      "\"prefill_tokens\":{}}}}}",
      kEngine + s.engine, us(s.start_ps), us(s.end_ps - s.start_ps), kind, s.decodes, s.prefill_tokens);
  fmt::format_to(
      std::back_inserter(events_),
      ",\n{{\"ph\":\"C\",\"pid\":{0},\"ts\":{1},\"name\":\"requests\",\"args\":{{\"running\":{2},\"waiting\":"
      "{3}}}}}"
      ",\n{{\"ph\":\"C\",\"pid\":{0},\"ts\":{1},\"name\":\"kv_blocks\",\"args\":{{\"used\":{4}}}}}",
      kEngine + s.engine, us(s.start_ps), s.running, s.waiting, s.used_blocks);
}

void Timeline::request(const RequestRecord& r, std::string_view id) {
  if (r.finish_ps < 0 || !room()) return;
  const std::string name =
      nlohmann::json(std::string(id)).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  const auto slice = [&](const char* what, std::int64_t from, std::int64_t to) {
    fmt::format_to(std::back_inserter(events_),
                   ",\n{{\"ph\":\"b\",\"cat\":\"request\",\"id\":{0},\"pid\":{1},\"tid\":1,\"ts\":{2},"
                   "\"name\":\"{3}\",\"args\":{{"
                   "\"request\":{4},\"input\":{5},\"output\":{6},\"cached\":{7},\"preemptions\":{8}}}}}"
                   ",\n{{\"ph\":\"e\",\"cat\":\"request\",\"id\":{0},\"pid\":{1},\"tid\":1,\"ts\":{9},"
                   "\"name\":\"{3}\"}}",
                   r.row, kRequests, us(from), what, name, r.input_tokens, r.output_tokens, r.cached_tokens,
                   r.preemptions, us(to));
  };
  slice("waiting", r.arrival_ps, r.scheduled_ps);
  slice("prefill", r.scheduled_ps, r.first_token_ps);
  slice("decode", r.first_token_ps, r.finish_ps);
}

std::string Timeline::gzipped() const {
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" + events_ + "\n]";
  if (dropped_ > 0) text += fmt::format(",\"otherData\":{{\"events_left_out\":\"{}\"}}", dropped_);
  text += "}\n";
  return gzip(text);
}

}  // namespace tessera
