// tessera-measure: runs the CUDA kernels of a plan on the GPU here. Found by `tessera measure`.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "kernels/measure/run.hpp"
#include "models/base/error.hpp"
#include "models/base/text.hpp"

namespace {

volatile std::sig_atomic_t interrupted = 0;
// The first interruption ends the run after the point at work, the second at once.
void interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Arguments {
  std::string plan = "default", out, date, commit = "unknown";
  double budget_s = 0;
  bool dry_run = false, resume = false;
};

int run(const Arguments& args) {
  using namespace tessera;
  const measure::Plan plan = measure::load_plan(args.plan);
  if (args.dry_run) {
    measure::print_plan(plan, args.budget_s, std::cout);
    return 0;
  }
  if (args.out.empty()) throw InputError("--out: missing, expected the CSV to write");
  const std::unique_ptr<measure::Machine> machine = measure::open_machine();
  std::signal(SIGINT, interrupt);
  std::signal(SIGTERM, interrupt);
  measure::RunOptions options;
  options.out = args.out, options.budget_s = args.budget_s, options.resume = args.resume;
  options.date = args.date.empty() ? fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::chrono::system_clock::now()))
                                   : args.date;
  options.commit = args.commit;
  options.seconds = seconds, options.interrupted = [] { return interrupted != 0; };
  const measure::RunReport report = measure::run_plan(*machine, plan, options, std::cerr);
  fmt::print(stderr, "{} of {} points measured in {}, {} there already, {} skipped, {} left\n",
             report.measured, report.planned, human_seconds(report.seconds), report.already, report.skipped,
             report.left);
  for (const std::string& file : report.files) fmt::print("{}\n", file);
  if (report.left > 0) fmt::print(stderr, "the same command with --resume measures the rest\n");
  if (report.interrupted) return 130;
  if (!report.lost.empty()) {
    fmt::print(stderr, "tessera: the card runs no kernels any more: {}\n", report.lost);
    return 1;
  }
  if (report.fruitless()) {
    fmt::print(stderr, "tessera: nothing could be measured\n");
    return 1;
  }
  if (report.wrong > 0) {
    fmt::print(stderr,
               "tessera: {} points gave wrong results; their rows carry a flag, and --resume measures "
               "them again\n",
               report.wrong);
    return 1;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures the CUDA kernels of a plan on the GPU here", "tessera measure"};
  Arguments args;
  if (const char* commit = std::getenv("TESSERA_COMMIT"))
    if (*commit != '\0') args.commit = commit;
  app.add_option("--plan", args.plan, "a plan under configs/measure, or a path")->capture_default_str();
  app.add_option(
      "--out", args.out,
      "CSV to write (several kernels: OUT_KERNEL.csv each), or FOLDER/ for FOLDER/DEVICE/KERNEL.csv");
  app.add_option("--budget", args.budget_s, "seconds; points that would pass it are left")
      ->check(CLI::Range(0.0, 1e7))
      ->check([](const std::string& text) {  // a range holds NaN, which is no budget and not "none"
        return std::isnan(std::strtod(text.c_str(), nullptr)) ? "not a number of seconds" : "";
      });
  app.add_flag("--dry-run", args.dry_run, "print the plan with estimated times; needs no GPU");
  app.add_flag("--resume", args.resume, "go on with the tables that are there");
  app.add_option("--date", args.date, "written into the rows (default: today)");
  app.add_option("--commit", args.commit, "of the program, written into the rows");
  app.footer(
      "Examples:\n"
      "  tessera measure --plan quick --out h100.csv --budget 300\n"
      "  tessera measure --out validation/measurements/ --budget 1500 --resume   # start, or go on\n"
      "  tessera measure --plan my_plan.yaml --dry-run\n"
      "Exit codes: 0 ok, 1 no GPU, a card lost on the way, nothing measured or wrong results, 2 bad usage or "
      "input, 130 interrupted. Rows so far are kept.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return run(args);
  } catch (const tessera::InputError& error) {
    fmt::print(stderr, "tessera: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "tessera: {}\n", error.what());
    return 1;
  }
}
