// tessera-calibrate: fits kernel behaviour to measurements and writes it. Found by `tessera calibrate`.
//   tessera-calibrate --gpu h100-sxm --measurements gemm.csv.gz nccl.csv.gz --out
//   configs/kernels/h100-sxm.yaml
// Attention has two tables, decode and prefill, and one set of parameters: name both to fit them together.
// Sections without a table keep the figures the card has now.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>

#include "models/base/text.hpp"
#include "sim/report/files.hpp"
#include "validation/calibrate.hpp"
#include "validation/layer_rows.hpp"
#include "validation/runs/commands.hpp"

namespace {

struct Arguments {
  std::vector<std::string> files, borrows;
  std::string gpu, out, date, origin, prior, cost = "roofline";
  int folds = -1;
};

std::string today() { return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::chrono::system_clock::now())); }

void print(const std::vector<tessera::FitRecord>& records) {
  for (const tessera::FitRecord& r : records)
    std::cerr << fmt::format("  {:<40} {:>10.4g}   {:>10.4g} to {:<10.4g} {}\n", r.parameter, r.value, r.low,
                             r.high, r.how == "rows" ? "" : r.how);
}

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};  // empty where there is none yet
}

void run(const Arguments& args) {
  using namespace tessera;
  check_writable(args.out);
  Gpu gpu = load_gpu(args.gpu);
  gpu.kernels->card = gpu.name;
  for (const std::string& text : args.borrows) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) throw InputError("--borrow " + text + ": expected section=gpu");
    borrow(gpu, text.substr(0, equals), load_gpu(text.substr(equals + 1)));
  }
  std::vector<MeasurementTable> tables;
  for (const std::string& file : args.files) tables.push_back(load_measurements(file));
  const Cost cost = parse_cost(args.cost);
  CalibrateOptions options;
  options.folds = args.folds >= 0 ? args.folds : cost == Cost::tile ? 0 : options.folds;
  const Gpu prior = args.prior.empty() ? Gpu{} : load_gpu(args.prior);
  if (!args.prior.empty()) options.prior = &prior;
  std::vector<FitRecord> records;
  for (const CalibrationNote& note :
       calibrate(gpu, tables, {args.date.empty() ? today() : args.date, args.origin}, cost, options)) {
    std::cerr << note.text << "\n";
    const bool told = std::any_of(records.begin(), records.end(), [&](const FitRecord& r) {
      return !note.records.empty() && r.parameter == note.records.front().parameter;
    });
    if (told) continue;  // of a table fitted together with this one
    print(note.records);
    records.insert(records.end(), note.records.begin(), note.records.end());
  }
  const std::string text = annotated_yaml(*gpu.kernels, records, text_of(args.out));
  write_file(args.out, text);
}

}  // namespace

int main(int argc, char** argv) {
  if (tessera::asks_for_runs(argc, argv)) return tessera::calibrate_runs_main(argc, argv);
  CLI::App app{"Fits a GPU's kernel behaviour to measured kernel timings"};
  Arguments args;
  app.add_option("--measurements", args.files, "CSV tables, plain or .gz; the kernel is known by the columns")
      ->required();
  app.add_option("--gpu", args.gpu, "a name under configs/gpus, or a path")->required();
  app.add_option("--out", args.out, "the kernel behaviour file to write")->required();
  app.add_option("--borrow", args.borrows, "section=gpu: take moe or collectives of another card, rescaled");
  app.add_option("--cost", args.cost, "whose parameters to fit: roofline or tile");
  app.add_option(
      "--prior", args.prior,
      "a described card, for a new one with few rows (60 to 200): its figures, rescaled by published "
      "numbers, hold what the rows leave open, and every row is fitted on");
  app.add_option("--folds", args.folds,
                 "cross-validation: parts the fitted shapes are split into, 0 for none (default 5; tile 0)");
  app.add_option("--origin", args.origin, "who measured the tables and their licence, written into the file");
  app.add_option("--date", args.date, "written into the file (default: today)");
  app.footer("Host times of engines from whole serving runs: tessera calibrate --runs apex|aic --data DIR");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    run(args);
    return 0;
  } catch (const tessera::InputError& error) {
    std::cerr << error.what() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
