// tessera-calibrate: fits kernel behaviour to measurements and writes it. Found by `tessera calibrate`.
//   tessera-calibrate --gpu h100-sxm --measurements gemm.csv.gz nccl.csv.gz --out
//   configs/kernels/h100-sxm.yaml
// Attention has two tables, decode and prefill, and one set of parameters: name both to fit them together.
// Sections without a table keep the figures the card has now.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <fstream>
#include <iostream>

#include "models/base/text.hpp"
#include "validation/calibrate.hpp"
#include "validation/runs/commands.hpp"

namespace {

struct Arguments {
  std::vector<std::string> files, borrows;
  std::string gpu, out, date, origin, cost = "roofline";
};

std::string today() { return fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::chrono::system_clock::now())); }

void run(const Arguments& args) {
  using namespace tessera;
  Gpu gpu = load_gpu(args.gpu);
  gpu.kernels->card = gpu.name;
  for (const std::string& text : args.borrows) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) throw InputError("--borrow " + text + ": expected section=gpu");
    borrow(gpu, text.substr(0, equals), load_gpu(text.substr(equals + 1)));
  }
  std::vector<MeasurementTable> tables;
  for (const std::string& file : args.files) tables.push_back(MeasurementTable::load(file));
  for (const CalibrationNote& note :
       calibrate(gpu, tables, {args.date.empty() ? today() : args.date, args.origin}, parse_cost(args.cost)))
    std::cerr << note.text << "\n";
  std::ofstream out(args.out);
  out << emit_yaml(to_yaml(*gpu.kernels));
  out.close();
  if (!out) throw InputError(args.out + ": cannot be written");
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
