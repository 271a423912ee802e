#include "validation/runs/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include "models/base/check.hpp"
#include "models/base/error.hpp"

namespace tessera {
namespace {

std::vector<double> ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i;
    while (end < order.size() && values[order[end]] == values[order[i]]) ++end;
    for (std::size_t j = i; j < end; ++j) rank[order[j]] = static_cast<double>(i + end - 1) / 2;
    i = end;
  }
  return rank;
}

double badness(const WorstRun& run) { return std::abs(std::log(run.predicted_ms / run.measured_ms)); }

// Of one metric, gathered before it is summed up.
struct Gathered {
  std::vector<double> all, fitted, held_out, measured, predicted;
  GroupedErrors groups;
  std::vector<WorstRun> worst;
};

std::string comma_free(std::string text) {
  std::replace(text.begin(), text.end(), ',', ';');
  return text;
}

}  // namespace

double rank_correlation(std::span<const double> a, std::span<const double> b) {
  TESSERA_CHECK(a.size() == b.size(), "pairs");
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (a.size() < 3) return kNone;
  const std::vector<double> x = ranks(a), y = ranks(b);
  const double mean = static_cast<double>(a.size() - 1) / 2;
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : kNone;
}

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
      const double ratio = predicted / measured;
      g.all.push_back(ratio);
      (run.fitted ? g.fitted : g.held_out).push_back(ratio);
      if (run.fitted) continue;
      g.measured.push_back(measured), g.predicted.push_back(predicted);
      for (const auto& [label, value] : run.labels) g.groups.add(label + "=" + value, ratio);
      g.worst.push_back({run.id, measured, predicted, played[i]});
    }
  }
  for (auto& [metric, g] : metrics) {
    MetricReport& m = report.metrics[metric];
    m.all = summarise(g.all), m.fitted = summarise(g.fitted), m.held_out = summarise(g.held_out);
    m.groups = g.groups.summaries();
    m.rank_correlation = rank_correlation(g.measured, g.predicted);
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
                       const ErrorSummary& s, double correlation) {
    if (s.rows == 0) return;
    text += fmt::format("{},{},{},{},{},{:.2f},{:.2f},{:.2f},{:+.2f},{},{}\n", report.name,
                        comma_free(engine), metric, part, s.rows, s.median_ape, s.mape, s.p90_ape, s.bias,
                        std::isfinite(correlation) ? fmt::format("{:.3f}", correlation) : "", date);
  };
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [metric, m] : report.metrics) {
    add("all", metric, "fitted", m.fitted, kNone);
    add("all", metric, "held out", m.held_out, m.rank_correlation);
    for (const auto& [group, summary] : m.groups)
      if (group.starts_with("engine=") || group.starts_with("times="))
        add(group.substr(group.find('=') + 1), metric, "held out", summary, kNone);
  }
  return text;
}

}  // namespace tessera
