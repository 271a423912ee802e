// The GEMM tables: y = x W^T through torch (cuBLAS) in bf16 and CUTLASS scaled GEMM in fp8, six copies of the
// weights cycling in one CUDA graph. Block-scaled fp8 was timed eagerly (a host floor) and fp4 and
// weight-only kernels are not modelled: those rows are counted but not used.
#include "validation/gemm_validate.hpp"

#include <fmt/format.h>

#include <cmath>

#include "kernels/cost/gemm.hpp"
#include "sim/gpu/gemm_sim.hpp"
#include "validation/fit_knobs.hpp"

namespace tessera {
namespace {

constexpr int kTableWeightCopies = 6;
constexpr std::size_t kFitRows = 8000;
constexpr std::size_t kTileFitRows = 2000;   // simulated, so each costs a hundred times more
constexpr std::int64_t kTileFitCtas = 2500;  // tiles of 128 x 128 of the largest of them

bool is_bf16(const Row& row) { return row.text("gemm_dtype") == "bfloat16"; }
// Our own tables say how many copies of the weights took turns; other counts meet another L2.
bool covers(const Row& row) {
  return (is_bf16(row) || row.text("gemm_dtype") == "fp8") &&
         row.integer_or("copies", kTableWeightCopies) == kTableWeightCopies;
}

constexpr std::int64_t kMost = 1 << 24;  // of a dimension

GemmShape shape_of(const Row& row) {
  return {row.count("m", 1, kMost), row.count("n", 1, kMost), row.count("k", 1, kMost),
          is_bf16(row) ? DType::bf16 : DType::fp8, kTableWeightCopies};
}

OpTime closed_form(const Gpu& gpu, const GemmShape& shape) { return gemm_time(gpu, shape); }
OpTime simulated(const Gpu& gpu, const GemmShape& shape) { return simulate_gemm(gpu, shape).time; }

std::string shape_key(const Row& row) {
  return fmt::format("gemm {} {} {}", row.key("m"), row.key("n"), row.key("k"));
}

std::string regime(const Row& row) {
  const std::int64_t m = row.integer("m"), n = row.integer("n"), k = row.integer("k");
  const char* rows = m <= 16 ? "m<=16" : m <= 128 ? "m<=128" : m <= 1024 ? "m<=1024" : "m>1024";
  return fmt::format("{} {}", n >= 1024 && k >= 1024 ? "n,k>=1024" : "small", rows);
}

struct Case {
  GemmShape shape;
  double measured_us;
};

// Every j-th row, so that the sample is spread over the table's order of shapes.
std::vector<Case> sample(std::span<const Row> rows, bool bf16, bool tile) {
  const auto cheap = [](const Row& row) {
    const GemmShape shape = shape_of(row);
    return tile_count({128, 128}, shape.m, shape.n) <= kTileFitCtas;
  };
  std::vector<Row> wanted;
  for (const Row& row : rows)
    if (is_bf16(row) == bf16 && (!tile || cheap(row))) wanted.push_back(row);
  std::vector<Case> cases;
  const std::size_t stride = std::max<std::size_t>(1, wanted.size() / (tile ? kTileFitRows : kFitRows));
  for (std::size_t i = 0; i < wanted.size(); i += stride)
    cases.push_back({shape_of(wanted[i]), wanted[i].latency_us()});
  return cases;
}

KernelFit fit_cases(const Gpu& gpu, const std::vector<Knob>& knobs, const std::vector<Case>& cases, bool tile,
                    const FitControl& control) {
  std::vector<double> measured;
  for (const Case& c : cases) measured.push_back(c.measured_us);
  const auto predict = tile ? simulated : closed_form;
  return fit_knobs(
      knobs, measured, [&](std::size_t i) { return predict(gpu, cases[i].shape).total; },
      {.iterations = tile ? 15 : 40, .restarts = tile ? 0 : 1}, control);
}

KernelFit fit_params(Gpu& gpu, GemmParams& p, std::span<const Row> rows, bool tile,
                     const FitControl& control) {
  const std::vector<Case> bf16 = sample(rows, true, tile);
  KernelFit result;
  if (!bf16.empty()) {
    std::vector<Knob> knobs{{"floor_us", &p.floor_us, 1, 5},
                            {"serial_ns_per_k", &p.serial_ns_per_k, 0.3, 8},
                            {"gemv_serial_ns_per_k", &p.gemv_serial_ns_per_k, 0.3, 8},
                            {"compute_fraction", &p.compute_fraction, 0.5, 1, Scale::linear},
                            {"hbm_fraction", &p.hbm_fraction, 0.6, 1, Scale::linear},
                            {"l2_feed_gb_s", &p.l2_feed_gb_s, 2000, 30000},
                            {"split_us", &p.split_us, 0.5, 6},
                            {"epilogue_us", &p.epilogue_us, 0.3, 10},
                            {"l2_share", &p.l2_share, 0.3, 1, Scale::linear},
                            {"wave_quantisation", &p.wave_quantisation, 0, 1, Scale::linear},
                            {"l2_retained", &p.l2_retained, 0, 0.5, Scale::linear}};
    result = fit_cases(gpu, knobs, bf16, tile, control);
  }
  const std::vector<Case> fp8 = sample(rows, false, tile);
  if (!fp8.empty()) {
    result.append(fit_cases(gpu,
                            {{"fp8.quantise_us", &p.fp8.quantise_us, 0.5, 20},
                             {"fp8.quantise_row_ns", &p.fp8.quantise_row_ns, 0.05, 50},
                             {"fp8.quantise_gb_s", &p.fp8.quantise_gb_s, 100, 5000},
                             {"fp8.compute_fraction", &p.fp8.compute_fraction, 0.3, 1, Scale::linear},
                             {"fp8.serial_ns_per_k", &p.fp8.serial_ns_per_k, 0.2, 8}},
                            fp8, tile, control));
  }
  return result;
}

}  // namespace

KernelValidator gemm_validator(Cost cost) {
  const bool tile = cost == Cost::tile;
  return {.name = "gemm",
          .recognises = [](const MeasurementTable& t) { return t.find_column("gemm_dtype") >= 0; },
          .columns = {"kernel_source", "gemm_dtype", "m", "n", "k"},
          .covers = covers,
          .fitted = covers,
          .predict = tile ? +[](const Gpu& gpu, const Row& row) { return simulated(gpu, shape_of(row)); }
                          : +[](const Gpu& gpu, const Row& row) { return closed_form(gpu, shape_of(row)); },
          .shape_key = shape_key,
          .dtype = [](const Row& row) { return std::string(row.text("gemm_dtype")); },
          .regime = regime,
          .calibrate =
              tile ? +[](Gpu& gpu, std::span<const Row> rows,
                         const FitControl&
                             control) { return fit_params(gpu, gpu.kernels->tile.gemm, rows, true, control); }
                   : +[](Gpu& gpu, std::span<const Row> rows,
                         const FitControl&
                             control) { return fit_params(gpu, gpu.kernels->gemm, rows, false, control); },
          .section = tile ? "tile.gemm" : "gemm",
          .source = tile ? +[](KernelBehaviour& b) -> std::string& { return b.tile.gemm.source; }
                         : +[](KernelBehaviour& b) -> std::string& { return b.gemm.source; },
          .add_to_table =
              [](KernelTable& table, const Row& row) {
                const GemmShape s = shape_of(row);
                table.add_gemm(s.dtype, s.m, s.n, s.k, row.latency_us());
              },
          .look_up = [](const KernelTable& table, const Gpu& gpu,
                        const Row& row) { return table.gemm(gpu, shape_of(row)); }};
}

}  // namespace tessera
