// Predicted against measured serving runs: errors by metric and group, and the worst runs with their terms.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "validation/runs/play.hpp"
#include "validation/statistics.hpp"

namespace tessera {

struct WorstRun {
  std::string id;
  double measured_ms = 0, predicted_ms = 0;
  PlayedRun played;
};

struct MetricReport {
  ErrorSummary all;
  ErrorSummary fitted;                         // runs the engine's host times were fitted on
  ErrorSummary held_out;                       // the others
  std::map<std::string, ErrorSummary> groups;  // "engine=..", "tp=.."; of held-out runs
  std::vector<WorstRun> worst;                 // held-out runs by |log(predicted / measured)|, worst first
};

struct RunsReport {
  std::string name, about;
  std::size_t runs = 0;
  std::map<std::string, std::size_t> left_out;
  std::map<std::string, MetricReport> metrics;
};

// One played run for each run of the set, in its order. Throws InputError if a measured value is not
// positive.
RunsReport report_runs(const RunSet& set, std::span<const PlayedRun> played, std::size_t worst = 10);

std::string to_json(const RunsReport& report);
std::string to_text(const RunsReport& report);
// Every run and metric on a line, with the terms of its mean step.
std::string to_csv(const RunSet& set, std::span<const PlayedRun> played);

// The accuracy record: one line for each metric, part and engine of a set.
inline constexpr const char* kRecordHeader =
    "set,engine,metric,part,runs,median_pct,mean_pct,p90_pct,bias_pct,rank_correlation,date\n";
// `record` with the lines of the report's set replaced, or added at the end.
std::string updated_record(const std::string& record, const RunsReport& report, const std::string& date);

}  // namespace tessera
