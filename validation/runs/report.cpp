#include "validation/runs/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "models/base/check.hpp"
#include "models/base/error.hpp"

namespace tessera {
namespace {

double badness(const WorstRun& run) { return std::abs(std::log(run.predicted_ms / run.measured_ms)); }

// Of one metric, gathered before it is summed up.
struct Gathered {
  std::vector<Prediction> all, fitted, held_out;
  GroupedErrors groups;
  std::vector<WorstRun> worst;
};

std::string comma_free(std::string text) {
  std::replace(text.begin(), text.end(), ',', ';');
  return text;
}

}  // namespace

RunsReport report_runs(const RunSet& set, std::span<const PlayedRun> played, std::size_t worst) {
  TESSERA_CHECK(played.size() == set.runs.size(), "every run is played");
  if (set.runs.empty()) throw InputError(set.name + ": no run can be played, expected at least one");
  RunsReport report;
  report.name = set.name, report.about = set.about, report.runs = set.runs.size(),
  report.left_out = set.left_out;
  std::map<std::string, Gathered> metrics;
  for (std::size_t i = 0; i < played.size(); ++i) {
    const MeasuredRun& run = set.runs[i];
    for (const auto& [metric, predicted] : played[i].predicted_ms) {
      const double measured = run.measured_ms.at(metric);
      if (!(measured > 0 && std::isfinite(measured)))
        throw InputError(
            fmt::format("run '{}': measured {} of {} ms, expected more than 0", run.id, metric, measured));
      Gathered& g = metrics[metric];
      const Prediction pair{predicted * 1e3, measured * 1e3};
      g.all.push_back(pair);
      (run.fitted ? g.fitted : g.held_out).push_back(pair);
      if (run.fitted) continue;
      for (const auto& [label, value] : run.labels) g.groups.add(label + "=" + value, pair);
      g.worst.push_back({run.id, measured, predicted, played[i]});
    }
  }
  for (auto& [metric, g] : metrics) {
    MetricReport& m = report.metrics[metric];
    m.all = summarise(g.all), m.fitted = summarise(g.fitted), m.held_out = summarise(g.held_out);
    m.groups = g.groups.summaries();
    std::stable_sort(g.worst.begin(), g.worst.end(),
                     [](const WorstRun& a, const WorstRun& b) { return badness(a) > badness(b); });
    g.worst.resize(std::min(worst, g.worst.size()));
    m.worst = std::move(g.worst);
  }
  return report;
}

std::string updated_record(const std::string& record, const RunsReport& report, const std::string& date) {
  std::string text = kRecordHeader;
  std::stringstream lines(record);
  std::string line;
  for (bool first = true; std::getline(lines, line); first = false)
    if (!first && !line.starts_with(report.name + ",")) text += line + "\n";
  const auto add = [&](const std::string& engine, const std::string& metric, const char* part,
                       const ErrorSummary& s) {
    if (s.rows == 0) return;
    text += fmt::format("{},{},{},{},{},{:.2f},{:.2f},{:.2f},{:+.2f},{:.3f},{}\n", report.name,
                        comma_free(engine), metric, part, s.rows, s.median_ape, s.mape, s.p90_ape, s.bias,
                        s.rank_correlation, date);
  };
  for (const auto& [metric, m] : report.metrics) {
    add("all", metric, "fitted", m.fitted);
    add("all", metric, "held out", m.held_out);
    for (const auto& [group, summary] : m.groups)
      if (group.starts_with("engine=") || group.starts_with("times=") || group.starts_with("model="))
        add(group.substr(group.find('=') + 1), metric, "held out", summary);
  }
  return text;
}

}  // namespace tessera
