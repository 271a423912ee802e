#include "validation/runs/fit_host.hpp"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <sstream>

#include "models/base/error.hpp"
#include "validation/fit.hpp"
#include "validation/runs/play.hpp"

namespace tessera {
namespace {

struct HostConstant {
  const char* key;
  double EngineProfile::*field;
  double start, low, high;
  bool of_ttft;  // shows in TTFT: fitted only where that is measured
};
constexpr HostConstant kConstants[] = {
    {"host_base_us", &EngineProfile::host_base_us, 2000, 1, 20000, false},
    {"host_per_sequence_us", &EngineProfile::host_per_sequence_us, 50, 0.1, 2000, false},
    {"host_per_tp_us", &EngineProfile::host_per_tp_us, 100, 0.1, 2000, false},
    {"eager_prefill_floor_ms", &EngineProfile::eager_prefill_floor_ms, 15, 0.1, 60, true},
    {"frontend_ttft_ms", &EngineProfile::frontend_ttft_ms, 5, 0.01, 50, true},
};

std::vector<HostConstant> constants_for(bool ttft_measured) {
  std::vector<HostConstant> wanted;
  for (const HostConstant& c : kConstants)
    if (!c.of_ttft || ttft_measured) wanted.push_back(c);
  return wanted;
}

// Only what the fit is judged by.
constexpr const char* kMetrics[] = {"tpot", "ttft"};

std::size_t measured(const MeasuredRun& run) {
  std::size_t count = 0;
  for (const char* metric : kMetrics) count += run.measured_ms.count(metric);
  return count;
}

}  // namespace

std::vector<HostFit> fit_host_times(RunSet& set) {
  std::map<std::string, std::vector<MeasuredRun>> by_profile;
  for (const MeasuredRun& run : set.runs)
    if (run.fitted) by_profile[run.config.engine.profile.name].push_back(run);
  if (by_profile.empty())
    throw InputError(set.name + ": no run of this set may be fitted on, expected one of apex, aic");
  std::vector<HostFit> fits;
  for (auto& [name, runs] : by_profile) {
    std::size_t residuals = 0;
    bool ttft = false;
    for (const MeasuredRun& run : runs)
      residuals += measured(run), ttft = ttft || run.measured_ms.count("ttft") > 0;
    const std::vector<HostConstant> constants = constants_for(ttft);
    if (residuals < 2 * constants.size())
      throw InputError(fmt::format("{}: {} measured means for {} host constants of {}, expected at least {}",
                                   set.name, residuals, constants.size(), name, 2 * constants.size()));
    std::vector<Parameter> parameters;
    for (const HostConstant& c : constants)
      parameters.push_back({c.key, c.start, c.low, c.high, Scale::linear});
    const FitResult best = fit(
        parameters, residuals,
        [&, &measured = runs](std::span<const double> values, std::span<double> out) {
          for (MeasuredRun& run : measured)
            for (std::size_t i = 0; i < constants.size(); ++i)
              run.config.engine.profile.value.*constants[i].field = values[i];
          const std::vector<PlayedRun> played = play(measured);
          std::size_t at = 0;
          for (std::size_t r = 0; r < measured.size(); ++r)
            for (const char* metric : kMetrics)
              if (measured[r].measured_ms.count(metric) > 0)
                out[at++] = std::log(played[r].predicted_ms.at(metric) / measured[r].measured_ms.at(metric));
        },
        {.iterations = 8, .coordinate_polish = false});
    HostFit result{name, {}, best.at_bound, runs.size()};
    for (std::size_t i = 0; i < constants.size(); ++i) {
      // Rounded as the file will say it, so that the file predicts what is printed here.
      const double value = std::stod(fmt::format("{:.4g}", best.values[i]));
      result.values.emplace_back(constants[i].key, value);
      for (MeasuredRun& run : set.runs)
        if (run.config.engine.profile.name == name)
          run.config.engine.profile.value.*constants[i].field = value;
    }
    fits.push_back(std::move(result));
  }
  return fits;
}

std::string with_host_times(const std::string& yaml, const HostFit& fit, const std::string& host_source) {
  std::map<std::string, std::string> wanted;
  for (const auto& [key, value] : fit.values) wanted[key] = fmt::format("{:.4g}", value);
  wanted["host_source"] = "\"" + host_source + "\"";
  std::string text, line;
  std::stringstream lines(yaml);
  while (std::getline(lines, line)) {
    const auto found = wanted.find(line.substr(0, line.find(':')));
    if (found != wanted.end()) {
      line = found->first + ": " + found->second;
      wanted.erase(found);
    }
    text += line + "\n";
  }
  if (!wanted.empty())
    throw InputError(
        fmt::format("configs/engines/{}.yaml: {}: no line of its own to put the fitted value on, expected "
                    "one",
                    fit.profile, wanted.begin()->first));
  return text;
}

}  // namespace tessera
