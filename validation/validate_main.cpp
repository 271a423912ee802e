// tessera-validate: predictions against measured rows. Found by `tessera validate` beside itself.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>

#include "sim/report/files.hpp"
#include "validation/layer_rows.hpp"
#include "validation/record.hpp"
#include "validation/runs/commands.hpp"
#include "validation/validate.hpp"

namespace {

constexpr int kUsage = 2, kGateMissed = 3;

struct Arguments {
  std::vector<std::string> files, where, fold_by;
  std::string kernel, gpu, cost = "auto", record, data, date, commit;
  std::optional<double> gate;
  int folds = 5;
  bool json = false, all = false;
};

std::string today() { return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::chrono::system_clock::now())); }

// Of the checkout the configs belong to; "unknown" outside one.
std::string commit_here() {
  const std::string command = "git -C '" + tessera::config_root() + "' rev-parse --short HEAD 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> git(popen(command.c_str(), "r"), pclose);
  char line[64] = "";
  if (!git || std::fgets(line, sizeof line, git.get()) == nullptr) return "unknown";
  std::string commit(line);
  while (!commit.empty() && std::isalnum(static_cast<unsigned char>(commit.back())) == 0) commit.pop_back();
  return commit.empty() ? "unknown" : commit;
}

int record(const Arguments& args) {
  using namespace tessera;
  if (args.data.empty()) throw InputError("--record needs --data, the folder of the public tables");
  check_writable(args.record);
  const auto accuracy = record_accuracy({.data = args.data,
                                         .date = args.date.empty() ? today() : args.date,
                                         .commit = args.commit.empty() ? commit_here() : args.commit});
  write_file(args.record, to_csv(accuracy));
  std::cout << to_markdown(accuracy);
  return 0;
}

int run(const Arguments& args) {
  using namespace tessera;
  if (!args.record.empty()) return record(args);
  if (args.gate && !(*args.gate >= 0))
    throw InputError(fmt::format("--gate {}: expected a percentage of at least 0", *args.gate));
  if (args.files.empty() || args.kernel.empty() || args.gpu.empty())
    throw InputError("expected --measurements FILE --kernel K --gpu G, or --record FILE --data DIR");
  ValidateOptions options;
  options.cost = parse_cost(args.cost);
  options.folds = args.folds;
  options.fold_by = args.fold_by;
  const KernelValidator& kernel = kernel_validator(args.kernel, options.cost);
  options.flagged_too = args.all;
  for (const std::string& text : args.where) options.where.push_back(parse_where(text));
  std::vector<MeasurementTable> tables;
  for (const std::string& file : args.files) tables.push_back(load_measurements(file));
  const ValidationReport report = validate(kernel, load_gpu(args.gpu), tables, options);
  std::cout << (args.json ? to_json(report) : to_text(report));
  if (args.gate && !(report.used.median_ape <= *args.gate)) {
    std::cerr << fmt::format("gate missed: median error {:.2f} %, expected at most {:.2f} %\n",
                             report.used.median_ape, *args.gate);
    return kGateMissed;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (tessera::asks_for_runs(argc, argv)) return tessera::validate_runs_main(argc, argv);
  CLI::App app{
      "Predictions against measured kernel timings\n\n"
      "  tessera validate --measurements h100_gemm.csv.gz --kernel gemm --gpu h100-sxm --cost tile\n"
      "  tessera validate --measurements h100_gemm.csv.gz --kernel gemm --gpu h100-sxm --cost table "
      "--fold-by n,k\n"
      "  tessera validate --record validation/accuracy.csv --data DIR\n"};
  Arguments args;
  app.add_option("--measurements", args.files, "CSV tables, plain or .gz");
  app.add_option(
      "--kernel", args.kernel,
      "gemm, context_attention, generation_attention, moe, nccl, custom_allreduce, or of a layer profile "
      "layer_gemm, layer_attention");
  app.add_option("--gpu", args.gpu, "a name under configs/gpus, or a path");
  app.add_option("--where", args.where, "column=value[,value]; several must all hold");
  app.add_option("--cost", args.cost,
                 "cost source: auto, roofline, tile or table (each row by rows of other shapes)");
  app.add_option("--folds", args.folds, "with --cost table: parts the shapes are split into (default 5)");
  app.add_option("--fold-by", args.fold_by,
                 "with --cost table: columns that decide the part, e.g. n,k: GEMMs of unseen weights")
      ->delimiter(',');
  app.add_option("--gate", args.gate, "exit 3 when the median error exceeds this many percent");
  app.add_option(
      "--record", args.record,
      "write the accuracy of all shipped cards, kernels and sources as CSV and print it as a table");
  app.add_option("--data", args.data, "with --record: the folder that holds silicon/aic and e2e");
  app.add_option("--date", args.date, "with --record: written into it (default: today)");
  app.add_option("--commit", args.commit, "with --record: written into it (default: that of the checkout)");
  app.add_flag("--json", args.json, "print JSON");
  app.add_flag("--all", args.all, "use flagged rows too");
  app.footer(
      "Whole serving runs instead: tessera validate --runs apex|aic|splitwise|llmservingsim|FILE --data DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  try {
    return run(args);
  } catch (const tessera::InputError& error) {
    std::cerr << error.what() << "\n";
    return kUsage;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
