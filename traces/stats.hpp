// What a trace is like: rates, lengths, and how far its prompts share blocks.
//
// Percentiles interpolate linearly between order statistics (numpy's default). The peak minute is the
// fullest of the minutes counted from the first arrival. CV: standard deviation over mean of the gaps.
// Prefix hit: the share of block references that an unlimited cache would serve, where a request hits
// its leading blocks that any earlier request had, and no block after the first miss.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "traces/request.hpp"

namespace tessera {

// Exact statistics of token counts from how often each value came: memory follows the number of
// different lengths, not the number of requests.
class LengthCounts {
 public:
  void add(std::int32_t tokens) {
    ++(static_cast<std::size_t>(tokens) < small_.size() ? small_[tokens] : large_[tokens]);
  }
  struct Summary {
    double mean = 0, p50 = 0, p90 = 0, p99 = 0;
    std::int64_t max = 0;
    std::int64_t total = 0;
  };
  [[nodiscard]] Summary summary() const;

 private:
  std::vector<std::int64_t> small_ = std::vector<std::int64_t>(std::size_t{1} << 17);
  std::map<std::int32_t, std::int64_t> large_;
};

struct TraceStats {
  std::int64_t requests = 0;
  double span_s = 0;
  double rate = 0;              // requests per second over the span; 0 without a span
  double peak_minute_rate = 0;  // the mean rate if the span is shorter than a minute
  double gap_cv = 0;
  LengthCounts::Summary input, output;

  int block_tokens = 0;  // 0: no block ids, and the rest is 0
  std::int64_t block_references = 0;
  std::int64_t unique_blocks = 0;
  std::int64_t blocks_used_once = 0;
  std::int64_t prefix_hit_blocks = 0;
  std::int64_t prompt_tokens = 0;      // of requests with block ids
  std::int64_t prefix_hit_tokens = 0;  // the last block of a prompt may be partial
};

// Reads the trace to its end.
TraceStats trace_statistics(TraceReader& trace);

std::string stats_table(const TraceStats& stats, const TraceInfo& info);
std::string stats_json(const TraceStats& stats, const TraceInfo& info);

}  // namespace tessera
