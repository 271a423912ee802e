#include "validation/runs/commands.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>

#include "models/base/text.hpp"
#include "models/base/yaml.hpp"
#include "sim/report/files.hpp"
#include "validation/runs/fit_host.hpp"
#include "validation/runs/report.hpp"

namespace tessera {
namespace {

constexpr int kUsage = 2, kGateMissed = 3;

struct Arguments {
  std::string runs, data, date, record, rows, out;
  std::vector<std::string> gates;
  bool json = false;
};

std::string today() { return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::chrono::system_clock::now())); }

std::string sources_help() {
  std::string text = "sets of runs:\n";
  for (const RunSource& source : run_sources()) text += fmt::format("  {:<14} {}\n", source.name, source.doc);
  return text +
         "  all            every set above\n"
         "  FILE           your own, a CSV: run,gpu,model,profile,..,mean_ttft_ms,mean_tpot_ms "
         "(validation/runs/run_file.cpp)\n";
}

// Predictions for the set as it stands, printed; the gates that were missed, as text.
std::string validate_set(const RunSet& set, const Arguments& args, std::string& rows) {
  const std::vector<PlayedRun> played = play(set.runs);
  const RunsReport report = report_runs(set, played);
  if (!args.rows.empty()) {
    const std::string csv = to_csv(set, played);
    rows += rows.empty() ? csv : csv.substr(csv.find('\n') + 1);  // one header
  }
  std::cout << (args.json ? to_json(report) : to_text(report));
  if (!args.record.empty()) {
    std::ifstream exists(args.record);
    write_file(args.record, updated_record(exists ? read_file(args.record) : "", report, args.date));
  }
  std::string missed;
  for (const std::string& gate : args.gates) {
    const std::size_t equals = gate.find('=');
    char* end = nullptr;
    const double most = equals == std::string::npos ? -1 : std::strtod(gate.c_str() + equals + 1, &end);
    const auto metric = report.metrics.find(gate.substr(0, equals));
    if (!(most >= 0) || end == gate.c_str() + equals + 1 || *end != '\0' || metric == report.metrics.end())
      throw InputError("--gate " + gate +
                       ": expected METRIC=PERCENT with a metric of these runs, e.g. tpot=6");
    const ErrorSummary& errors = metric->second.held_out;
    if (errors.median_ape > most)
      missed += fmt::format("gate missed: median error of {} {:.2f} %, expected at most {:.2f} %\n",
                            metric->first, errors.median_ape, most);
  }
  return missed;
}

// What is there must be such a record: its other lines are kept, its first is the header.
void check_record(const std::string& path) {
  check_writable(path);
  if (!std::ifstream(path)) return;
  if (const std::string text = read_file(path); !text.empty() && !text.starts_with(kRecordHeader))
    throw InputError(path + ": is no record of runs, expected a file that begins with " + kRecordHeader);
}

int validate_set_main(const Arguments& args) {
  std::string missed, rows;
  if (!args.rows.empty()) check_writable(args.rows);
  if (!args.record.empty()) check_record(args.record);
  if (args.runs == "all") {
    const char* between = args.json ? "[" : "";
    for (const RunSource& source : run_sources()) {
      std::cout << between;
      missed += validate_set(read_runs(source.name, args.data), args, rows);
      between = args.json ? "," : "\n";
    }
    if (args.json) std::cout << "]\n";
  } else {
    missed = validate_set(read_runs(args.runs, args.data), args, rows);
  }
  if (!args.rows.empty()) write_file(args.rows, rows);
  std::cerr << missed;
  return missed.empty() ? 0 : kGateMissed;
}

// "TPOT median 4.1 %, TTFT median 3.4 %", of held-out runs of one profile.
std::string held_out_text(const RunSet& set, const std::string& profile) {
  RunSet own = set;
  std::erase_if(own.runs, [&](const MeasuredRun& run) { return run.config.engine.profile.name != profile; });
  const RunsReport report = report_runs(own, play(own.runs));
  std::string text;
  for (const auto& [metric, m] : report.metrics)
    if (m.held_out.rows > 0)
      text += fmt::format("{}{} {:.1f} % over {} runs", text.empty() ? "" : ", ", metric,
                          m.held_out.median_ape, m.held_out.rows);
  return text.empty() ? "none" : text;
}

int calibrate_set_main(const Arguments& args) {
  RunSet set = read_runs(args.runs, args.data);
  const std::vector<HostFit> fits = fit_host_times(set);
  for (const HostFit& fit : fits) {
    std::cerr << fmt::format("{}: fitted on {} runs\n", fit.profile, fit.runs);
    for (const auto& [key, value] : fit.values) std::cerr << fmt::format("  {}: {:.4g}\n", key, value);
    if (!fit.at_bound.empty())
      std::cerr << "  at a bound of their range, so not determined by these runs: "
                << join(fit.at_bound, ", ") << "\n";
    if (args.out.empty()) continue;
    const std::string source =
        fmt::format("{} runs of: {}; held-out median error: {}; tessera calibrate --runs {}, {}", fit.runs,
                    set.about, held_out_text(set, fit.profile), args.runs, args.date);
    const std::string name = "/" + fit.profile + ".yaml";
    write_file(args.out + name, with_host_times(read_file(config_root() + "/engines" + name), fit, source));
  }
  std::string rows;
  validate_set(set, args, rows);
  if (!args.rows.empty()) write_file(args.rows, rows);
  return 0;
}

int guarded(CLI::App& app, int argc, char** argv, Arguments& args, const std::function<int()>& command) {
  app.add_option("--runs", args.runs, "a set of measured runs, all of them, or a CSV file of your own")
      ->required();
  app.add_option("--data", args.data, "the folder that holds e2e/ (and silicon/), for the named sets");
  app.add_option("--date", args.date, "written into what is recorded (default: today)");
  app.add_option("--rows", args.rows, "write every run with its terms to this CSV file");
  app.add_flag("--json", args.json, "print JSON");
  if (app.get_footer().empty()) app.footer(sources_help());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (args.date.empty()) args.date = today();
  try {
    return command();
  } catch (const InputError& error) {
    std::cerr << error.what() << "\n";
    return kUsage;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}

}  // namespace

bool asks_for_runs(int argc, char** argv) {
  for (int i = 1; i < argc; ++i)
    if (std::string_view(argv[i]) == "--runs" || std::string_view(argv[i]).starts_with("--runs="))
      return true;
  return false;
}

int validate_runs_main(int argc, char** argv) {
  CLI::App app{"Predictions against measured serving runs"};
  Arguments args;
  app.add_option("--gate", args.gates,
                 "METRIC=PERCENT: exit 3 when the median error of held-out runs exceeds it");
  app.add_option("--record", args.record,
                 "a CSV file whose lines of this set are replaced, e.g. validation/accuracy_runs.csv");
  return guarded(app, argc, argv, args, [&] { return validate_set_main(args); });
}

int calibrate_runs_main(int argc, char** argv) {
  CLI::App app{"Fits the host times of engine profiles to measured serving runs"};
  Arguments args;
  app.add_option("--out", args.out, "the folder to write the profiles to, e.g. configs/engines");
  app.footer("sets of runs whose host times are fitted: apex, aic");
  return guarded(app, argc, argv, args, [&] { return calibrate_set_main(args); });
}

}  // namespace tessera
