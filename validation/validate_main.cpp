// tessera-validate: predictions against measured rows. Found by `tessera validate` beside itself.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "validation/runs/commands.hpp"
#include "validation/validate.hpp"

namespace {

constexpr int kUsage = 2, kGateMissed = 3;

struct Arguments {
  std::vector<std::string> files, where, fold_by;
  std::string kernel, gpu, cost = "auto";
  double gate = -1;
  int folds = 5;
  bool json = false, all = false;
};

int run(const Arguments& args) {
  using namespace tessera;
  ValidateOptions options;
  options.cost = parse_cost(args.cost);
  options.folds = args.folds;
  options.fold_by = args.fold_by;
  const KernelValidator& kernel = kernel_validator(args.kernel, options.cost);
  options.flagged_too = args.all;
  for (const std::string& text : args.where) options.where.push_back(parse_where(text));
  std::vector<MeasurementTable> tables;
  for (const std::string& file : args.files) tables.push_back(MeasurementTable::load(file));
  const ValidationReport report = validate(kernel, load_gpu(args.gpu), tables, options);
  std::cout << (args.json ? to_json(report) : to_text(report));
  if (args.gate >= 0 && report.used.median_ape > args.gate) {
    std::cerr << fmt::format("gate missed: median error {:.2f} %, expected at most {:.2f} %\n",
                             report.used.median_ape, args.gate);
    return kGateMissed;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (tessera::asks_for_runs(argc, argv)) return tessera::validate_runs_main(argc, argv);
  CLI::App app{"Predictions against measured kernel timings"};
  Arguments args;
  app.add_option("--measurements", args.files, "CSV tables, plain or .gz")->required();
  app.add_option("--kernel", args.kernel,
                 "gemm, context_attention, generation_attention, moe, nccl or custom_allreduce")
      ->required();
  app.add_option("--gpu", args.gpu, "a name under configs/gpus, or a path")->required();
  app.add_option("--where", args.where, "column=value[,value]; several must all hold");
  app.add_option("--cost", args.cost, "cost source: auto, roofline, tile or table (each row by rows of other shapes)");
  app.add_option("--folds", args.folds, "with --cost table: parts the shapes are split into (default 5)");
  app.add_option("--fold-by", args.fold_by,
                 "with --cost table: columns that decide the part, e.g. n,k: GEMMs of unseen weights")
      ->delimiter(',');
  app.add_option("--gate", args.gate, "exit 3 when the median error exceeds this many percent");
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
