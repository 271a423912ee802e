// The report as `validate --runs --json` prints it and as tables for people.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "validation/runs/report.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json rounded(double value) {
  return std::isfinite(value) ? Json(std::round(value * 1e4) / 1e4) : Json(nullptr);
}

Json json_of(const ErrorSummary& s) {
  return {{"runs", s.rows},
          {"mape", rounded(s.mape)},
          {"median_ape", rounded(s.median_ape)},
          {"p90_ape", rounded(s.p90_ape)},
          {"bias", rounded(s.bias)},
          {"rank_correlation", rounded(s.rank_correlation)}};
}

Json json_of(const WorstRun& w) {
  Json parts;
  for (std::size_t i = 0; i < kStepParts; ++i)
    if (static_cast<StepPart>(i) != StepPart::host)
      parts[name_of(static_cast<StepPart>(i))] = rounded(w.played.part_ms[i]);
  parts["host"] = rounded(w.played.host_ms);
  return {{"run", w.id},
          {"measured_ms", rounded(w.measured_ms)},
          {"predicted_ms", rounded(w.predicted_ms)},
          {"ratio", rounded(w.predicted_ms / w.measured_ms)},
          {"mean_step_ms", parts},
          {"steps", w.played.steps},
          {"mean_running", rounded(w.played.batch)},
          {"kv_tokens", w.played.kv_tokens},
          {"preemptions", w.played.preemptions},
          {"rejected", w.played.rejected}};
}

std::string line(const std::string& name, const ErrorSummary& s) {
  if (s.rows == 0) return {};
  return fmt::format(
      "  {:<58} {:>4} runs  median {:>5.1f} %  mean {:>5.1f} %  p90 {:>5.1f} %  bias {:>+6.1f} %  rank "
      "{:.3f}\n",
      name, s.rows, s.median_ape, s.mape, s.p90_ape, s.bias, s.rank_correlation);
}

std::string terms(const PlayedRun& p) {
  std::string text;
  for (std::size_t i = 0; i < kStepParts; ++i)
    if (p.part_ms[i] >= 0.005 && static_cast<StepPart>(i) != StepPart::host)
      text += fmt::format("{} {:.2f}, ", name_of(static_cast<StepPart>(i)), p.part_ms[i]);
  text += fmt::format("host {:.2f} ms a step; {:.1f} running", p.host_ms, p.batch);
  if (p.preemptions > 0) text += fmt::format("; {} preemptions", p.preemptions);
  if (p.rejected > 0) text += fmt::format("; {} rejected", p.rejected);
  return text;
}

}  // namespace

std::string to_json(const RunsReport& r) {
  Json root = {{"set", r.name}, {"about", r.about}, {"runs", r.runs}};
  root["left_out"] = Json::object();
  for (const auto& [reason, count] : r.left_out) root["left_out"][reason] = count;
  root["metrics"] = Json::object();
  for (const auto& [metric, m] : r.metrics) {
    Json out = {{"all", json_of(m.all)}, {"fitted", json_of(m.fitted)}, {"held_out", json_of(m.held_out)}};
    out["groups"] = Json::array();
    for (const auto& [name, summary] : m.groups) {
      const std::size_t equals = name.find('=');
      Json group = {{"by", name.substr(0, equals)}, {"value", name.substr(equals + 1)}};
      group.update(json_of(summary));
      out["groups"].push_back(group);
    }
    out["worst"] = Json::array();
    for (const WorstRun& w : m.worst) out["worst"].push_back(json_of(w));
    root["metrics"][metric] = out;
  }
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_text(const RunsReport& r) {
  std::string text = fmt::format("{}: {}\n{} runs played", r.name, r.about, r.runs);
  for (const auto& [reason, count] : r.left_out) text += fmt::format("; {} left out: {}", count, reason);
  text += "\n";
  for (const auto& [metric, m] : r.metrics) {
    text += fmt::format("\nmean {}, error of predictions\n", metric);
    text += line("runs the host times were fitted on", m.fitted);
    text += line(m.fitted.rows > 0 ? "held out" : "all", m.held_out);
    for (const auto& [name, summary] : m.groups) text += line("  " + name, summary);
    if (!m.worst.empty()) text += "  worst:\n";
    for (const WorstRun& w : m.worst)
      text += fmt::format("    {:+6.1f} %  {}: measured {:.2f} ms, predicted {:.2f} ms ({})\n",
                          100 * (w.predicted_ms / w.measured_ms - 1), w.id, w.measured_ms, w.predicted_ms,
                          terms(w.played));
  }
  return text;
}

std::string to_csv(const RunSet& set, std::span<const PlayedRun> played) {
  std::string text = "run,metric,part,measured_ms,predicted_ms,mean_running,steps,preemptions,kv_tokens";
  for (std::size_t i = 0; i < kStepParts; ++i)
    if (static_cast<StepPart>(i) != StepPart::host)
      text += fmt::format(",{}_ms", name_of(static_cast<StepPart>(i)));
  text += ",host_ms\n";
  for (std::size_t r = 0; r < played.size(); ++r)
    for (const auto& [metric, predicted] : played[r].predicted_ms) {
      const PlayedRun& p = played[r];
      text += fmt::format("\"{}\",{},{},{:.4f},{:.4f},{:.2f},{},{},{}", set.runs[r].id, metric,
                          set.runs[r].fitted ? "fitted" : "held out", set.runs[r].measured_ms.at(metric),
                          predicted, p.batch, p.steps, p.preemptions, p.kv_tokens);
      for (std::size_t i = 0; i < kStepParts; ++i)
        if (static_cast<StepPart>(i) != StepPart::host) text += fmt::format(",{:.4f}", p.part_ms[i]);
      text += fmt::format(",{:.4f}\n", p.host_ms);
    }
  return text;
}

}  // namespace tessera
