// timeline.json.gz: Chrome trace events for Perfetto. One slice per step, counters for running and waiting
// requests and KV blocks, one slice per request from arrival to last token with its waiting time apart.
// Long runs are cut after `max_events` and the file says so.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/serving/metrics.hpp"

namespace tessera {

class Timeline {
 public:
  explicit Timeline(std::int64_t max_events = 400'000);
  void step(const StepRecord& step);
  void request(const RequestRecord& record, std::string_view id);
  // The finished document, gzipped.
  [[nodiscard]] std::string gzipped() const;

 private:
  bool room();
  void name_engine(int engine);
  std::string events_;
  std::vector<bool> named_;  // engines
  std::int64_t left_;
  std::int64_t dropped_ = 0;
};

}  // namespace tessera
