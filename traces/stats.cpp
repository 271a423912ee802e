#include "traces/stats.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "models/base/text.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kPsPerMinute = 60 * kPsPerSecond;

// Counts of the gaps between arrivals; sums of squares about the mean by Welford's update.
class Gaps {
 public:
  void arrive(std::int64_t at_ps) {
    if (arrivals_++ > 0) {
      const double gap = static_cast<double>(at_ps - last_ps_);
      const double from_mean = gap - mean_;
      mean_ += from_mean / static_cast<double>(arrivals_ - 1);
      squares_ += from_mean * (gap - mean_);
    }
    last_ps_ = at_ps;
    const std::int64_t minute = at_ps / kPsPerMinute;
    if (minute != minute_) in_minute_ = 0;
    minute_ = minute;
    fullest_minute_ = std::max(fullest_minute_, ++in_minute_);
  }
  [[nodiscard]] double cv() const {
    if (arrivals_ < 2 || mean_ == 0) return 0;
    return std::sqrt(squares_ / static_cast<double>(arrivals_ - 1)) / mean_;
  }
  [[nodiscard]] double peak_minute_rate() const { return static_cast<double>(fullest_minute_) / 60.0; }
  [[nodiscard]] std::int64_t last_ps() const { return last_ps_; }

 private:
  std::int64_t arrivals_ = 0;
  std::int64_t last_ps_ = 0;
  double mean_ = 0;
  double squares_ = 0;
  std::int64_t minute_ = 0;
  std::int64_t in_minute_ = 0;
  std::int64_t fullest_minute_ = 0;
};

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

void count_blocks(const Request& request, std::unordered_map<std::uint64_t, std::int64_t>& uses,
                  TraceStats& stats) {
  stats.prompt_tokens += request.input_tokens;
  bool leading = true;
  std::int64_t hits = 0;
  for (const std::uint64_t block : request.blocks) {
    const bool fresh = uses[block]++ == 0;
    leading = leading && !fresh;
    if (leading) ++hits;
  }
  stats.block_references += static_cast<std::int64_t>(request.blocks.size());
  stats.prefix_hit_blocks += hits;
  stats.prefix_hit_tokens += std::min<std::int64_t>(hits * stats.block_tokens, request.input_tokens);
}

std::string json_text(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    else
      out += c;
  }
  return out + '"';
}

std::string json_lengths(const LengthCounts::Summary& lengths) {
  return fmt::format(R"({{"mean": {}, "p50": {}, "p90": {}, "p99": {}, "max": {}, "total": {}}})",
                     lengths.mean, lengths.p50, lengths.p90, lengths.p99, lengths.max, lengths.total);
}

}  // namespace

LengthCounts::Summary LengthCounts::summary() const {
  std::vector<std::pair<std::int32_t, std::int64_t>> values;
  for (std::size_t i = 0; i < small_.size(); ++i)
    if (small_[i] > 0) values.emplace_back(static_cast<std::int32_t>(i), small_[i]);
  values.insert(values.end(), large_.begin(), large_.end());
  Summary out;
  std::int64_t count = 0;
  for (const auto& [tokens, times] : values) {
    count += times;
    out.total += tokens * times;
  }
  if (count == 0) return out;
  const auto ranked = [&](std::int64_t rank) {
    for (const auto& [tokens, times] : values) {
      if (rank < times) return static_cast<double>(tokens);
      rank -= times;
    }
    return static_cast<double>(values.back().first);
  };
  const auto percentile = [&](double q) {
    const double at = q * static_cast<double>(count - 1);
    const auto below = static_cast<std::int64_t>(at);
    const double low = ranked(below);
    return low + (ranked(below + 1) - low) * (at - static_cast<double>(below));
  };
  out.mean = static_cast<double>(out.total) / static_cast<double>(count);
  out.p50 = percentile(0.50);
  out.p90 = percentile(0.90);
  out.p99 = percentile(0.99);
  out.max = values.back().first;
  return out;
}

TraceStats trace_statistics(TraceReader& trace) {
  TraceStats stats;
  stats.block_tokens = trace.info().block_tokens;
  LengthCounts input;
  LengthCounts output;
  Gaps gaps;
  std::unordered_map<std::uint64_t, std::int64_t> uses;
  Request request;
  while (trace.next(request)) {
    ++stats.requests;
    gaps.arrive(request.arrival_ps);
    input.add(request.input_tokens);
    output.add(request.output_tokens);
    if (stats.block_tokens > 0) count_blocks(request, uses, stats);
  }
  stats.input = input.summary();
  stats.output = output.summary();
  stats.unique_blocks = static_cast<std::int64_t>(uses.size());
  stats.blocks_used_once =
      std::count_if(uses.begin(), uses.end(), [](const auto& use) { return use.second == 1; });
  if (trace.info().has_arrivals) {
    stats.span_s = to_s(Time{gaps.last_ps()});
    stats.rate = stats.span_s == 0 ? 0 : static_cast<double>(stats.requests) / stats.span_s;
    stats.gap_cv = gaps.cv();
    stats.peak_minute_rate = gaps.last_ps() < kPsPerMinute ? stats.rate : gaps.peak_minute_rate();
  }
  return stats;
}

std::string stats_table(const TraceStats& stats, const TraceInfo& info) {
  std::string out = fmt::format("{}  ({})\n", info.file, info.format);
  const auto line = [&](const char* name, const std::string& value) {
    out += fmt::format("  {:<22} {}\n", name, value);
  };
  line("requests", human_count(stats.requests));
  for (const SkippedRows& skipped : info.skipped)
    line("rows skipped", human_count(skipped.rows) + ": " + skipped.reason);
  if (info.has_arrivals) {
    line("span", fmt::format("{:.1f} s", stats.span_s));
    line("rate", fmt::format("{:.3g} requests/s, peak minute {:.3g}", stats.rate, stats.peak_minute_rate));
    line("inter-arrival CV", fmt::format("{:.2f}", stats.gap_cv));
  } else {
    line("arrivals", "none in this trace");
  }
  out += fmt::format("  {:<22} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "tokens", "mean", "p50", "p90", "p99",
                     "max");
  for (const auto& [name, lengths] : {std::pair{"input", stats.input}, std::pair{"output", stats.output}})
    out += fmt::format("  {:<22} {:>10.1f} {:>10.0f} {:>10.0f} {:>10.0f} {:>10}\n", name, lengths.mean,
                       lengths.p50, lengths.p90, lengths.p99, lengths.max);
  if (stats.block_tokens > 0) {
    line("block size", fmt::format("{} tokens", stats.block_tokens));
    line("block references",
         fmt::format("{}, {} unique, {:.1f} % of them used once", human_count(stats.block_references),
                     human_count(stats.unique_blocks),
                     100 * ratio(stats.blocks_used_once, stats.unique_blocks)));
    line("prefix hit, no limit", fmt::format("{:.2f} % of blocks, {:.2f} % of prompt tokens",
                                             100 * ratio(stats.prefix_hit_blocks, stats.block_references),
                                             100 * ratio(stats.prefix_hit_tokens, stats.prompt_tokens)));
  }
  for (const std::string& note : info.notes) out += "  note: " + note + "\n";
  return out;
}

std::string stats_json(const TraceStats& stats, const TraceInfo& info) {
  std::string out = fmt::format("{{\n  \"file\": {},\n  \"format\": {},\n  \"requests\": {},\n",
                                json_text(info.file), json_text(info.format), stats.requests);
  out += "  \"skipped\": {";
  for (std::size_t i = 0; i < info.skipped.size(); ++i)
    out +=
        fmt::format("{}{}: {}", i == 0 ? "" : ", ", json_text(info.skipped[i].reason), info.skipped[i].rows);
  out += "},\n";
  if (info.has_arrivals)
    out += fmt::format(
        "  \"span_s\": {},\n  \"rate_rps\": {},\n  \"peak_minute_rps\": {},\n  \"interarrival_cv\": {},\n",
        stats.span_s, stats.rate, stats.peak_minute_rate, stats.gap_cv);
  out += fmt::format("  \"input_tokens\": {},\n  \"output_tokens\": {},\n", json_lengths(stats.input),
                     json_lengths(stats.output));
  if (stats.block_tokens > 0)
    out += fmt::format(
        "  \"blocks\": {{\"block_tokens\": {}, \"references\": {}, \"unique\": {}, \"used_once_share\": {}, "
        "\"prefix_hit_ratio\": {}, \"prefix_hit_token_ratio\": {}}},\n",
        stats.block_tokens, stats.block_references, stats.unique_blocks,
        ratio(stats.blocks_used_once, stats.unique_blocks),
        ratio(stats.prefix_hit_blocks, stats.block_references),
        ratio(stats.prefix_hit_tokens, stats.prompt_tokens));
  out += "  \"notes\": [";
  for (std::size_t i = 0; i < info.notes.size(); ++i) out += (i == 0 ? "" : ", ") + json_text(info.notes[i]);
  return out + "]\n}\n";
}

}  // namespace tessera
