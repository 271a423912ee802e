#include "kernels/measure/run.hpp"

#include <fmt/ostream.h>

#include <algorithm>
#include <new>
#include <ostream>
#include <set>

#include "models/base/error.hpp"
#include "models/base/text.hpp"

namespace tessera::measure {
namespace {

std::string described(const Point& point) {
  std::string text = point.bench->kernel;
  for (std::size_t i = 0; i < point.cells.size(); ++i)
    text += fmt::format(" {}={}", point.bench->columns[i], point.cells[i]);
  return text;
}

std::set<std::string> kernels_of(const std::vector<Point>& points) {
  std::set<std::string> kernels;
  for (const Point& p : points) kernels.insert(p.bench->kernel);
  return kernels;
}

// Measures a point and the clock it ran at, or says why not.
Sample measure_point(Machine& machine, const Point& point, const Settings& settings, double& clock_mhz,
                     std::string& refusal) {
  try {
    Sample sample = point.bench->run(machine, point, settings);
    clock_mhz = machine.clock_mhz();
    return sample;
  } catch (const RunError& error) {
    refusal = error.what();
  } catch (const std::bad_alloc&) {
    refusal = "needs more memory than this host has";
  }
  return {};
}

std::string error_text(const Sample& sample, const Bench& bench) {
  if (!sample.error) return "not checked";
  return fmt::format("error {:.1e}{}", *sample.error,
                     sample.wrong(bench) ? fmt::format(" WRONG, expected at most {}", bench.tolerance) : "");
}

// How long points take here against their estimates: the sums of both so far, at first as estimated.
class Pace {
 public:
  [[nodiscard]] double expect(double estimate) const { return estimate * real_ / estimated_; }
  void add(double estimate, double real) { estimated_ += estimate, real_ += real; }

 private:
  double estimated_ = 1, real_ = 1;
};

}  // namespace

RunReport run_plan(Machine& machine, const Plan& plan, const RunOptions& options, std::ostream& progress) {
  const double began = options.seconds();
  const Settings settings = settings_of(plan);
  const std::vector<Point> points = points_of(plan);
  const DeviceInfo device = machine.info();
  Origin origin{device.name, device.driver, options.date, options.commit, 0, device.memory_clock_mhz};
  fmt::print(progress, "{}: {} SMs, compute capability {}.{}, L2 {}, memory {}, CUDA {}\n", device.name,
             device.sms, device.major, device.minor, human_bytes(static_cast<double>(device.l2_bytes)),
             human_bytes(static_cast<double>(device.memory_bytes)), device.driver);

  RunReport report;
  report.planned = points.size();
  std::map<std::string, ResultTable> tables;
  const std::set<std::string> kernels = kernels_of(points);
  for (const std::string& kernel : kernels) {
    const std::string path = table_path(options.out, device.name, kernel, kernels.size() == 1);
    tables.try_emplace(kernel, path, bench_of(kernel), options.resume, origin);
    report.files.push_back(path);
  }

  const auto leave_from = [&](std::size_t first) {
    for (std::size_t i = first; i < points.size(); ++i)
      ++(tables.at(points[i].bench->kernel).has(points[i]) ? report.already : report.left);
  };
  Pace pace;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const Point& point = points[i];
    ResultTable& table = tables.at(point.bench->kernel);
    if (table.has(point)) {
      ++report.already;
      continue;
    }
    const double now = options.seconds(), estimate = estimated_seconds(point, settings);
    report.interrupted = options.interrupted();
    // A point that would pass the budget is left; a shorter one may still fit.
    const bool late = options.budget_s > 0 && now - began + pace.expect(estimate) > options.budget_s;
    if (report.interrupted) {
      leave_from(i);
      break;
    }
    if (late) {
      ++report.left;
      continue;
    }
    std::string refusal;
    const Sample sample = measure_point(machine, point, settings, origin.sm_clock_mhz, refusal);
    if (!refusal.empty()) {
      ++report.skipped;
      fmt::print(progress, "[{}/{}] {}: skipped: {}\n", i + 1, points.size(), described(point), refusal);
      if (machine.runs_kernels(report.lost)) continue;
      leave_from(i + 1);
      break;
    }
    pace.add(estimate, options.seconds() - now);  // a point that was skipped says nothing of the others
    table.add(point, sample, origin);
    ++report.measured;
    report.wrong += sample.wrong(*point.bench);
    fmt::print(progress, "[{}/{}] {}: {} (p10 {}, p90 {}), {}\n", i + 1, points.size(), described(point),
               human_seconds(sample.median_ms() / 1e3), human_seconds(sample.quantile_ms(0.1) / 1e3),
               human_seconds(sample.quantile_ms(0.9) / 1e3), error_text(sample, *point.bench));
  }
  report.seconds = options.seconds() - began;
  return report;
}

void print_plan(const Plan& plan, double budget_s, std::ostream& out) {
  const Settings settings = settings_of(plan);
  const std::vector<Point> points = points_of(plan);
  double sum = 0;
  std::size_t within = 0;
  std::map<std::string, std::pair<std::size_t, double>> by_kernel;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double seconds = estimated_seconds(points[i], settings);
    sum += seconds;
    within += budget_s <= 0 || sum <= budget_s;
    auto& [count, time] = by_kernel[points[i].bench->kernel];
    ++count, time += seconds;
    fmt::print(out, "{:>5} {:>9}  {}\n", i + 1, human_seconds(seconds), described(points[i]));
  }
  fmt::print(out, "\nplan {}: {} points, about {} on a card of 1 TB/s and 100 TFLOP/s\n", plan.name,
             points.size(), human_seconds(sum));
  for (const auto& [kernel, of] : by_kernel)
    fmt::print(out, "  {:<22} {:>5} points {:>9}\n", kernel, of.first, human_seconds(of.second));
  if (budget_s > 0)
    fmt::print(out, "  a budget of {} reaches about {} of them\n", human_seconds(budget_s), within);
}

}  // namespace tessera::measure
