// `tessera kernel gemm` and `tessera kernel copy`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "kernels/tiles/elementwise_program.hpp"
#include "models/base/text.hpp"
#include "sim/cli/commands.hpp"
#include "sim/cli/kernel_command.hpp"
#include "sim/cli/kernel_report.hpp"
#include "sim/gpu/gemm_sim.hpp"
#include "sim/gpu/program_sim.hpp"

namespace tessera {
namespace {

struct GemmOptions {
  std::string gpu = "h100-sxm", dtype = "bf16", l2 = "on", out;
  std::int64_t m = 0, n = 0, k = 0;
  int copies = 1;
  bool json = false;
};

int gemm_command(const GemmOptions& o) {
  const Gpu gpu = load_gpu(o.gpu);
  GemmShape shape{o.m, o.n, o.k, parse_dtype(o.dtype), o.copies};
  const L2Mode mode = o.l2 == "off" ? L2Mode::off : o.l2 == "on" ? L2Mode::on : L2Mode::warm;
  std::vector<CtaSpan> spans;
  const GemmSimulation sim = simulate_gemm(gpu, shape, mode, o.out.empty() ? nullptr : &spans);
  KernelReport report;
  report.title = fmt::format("gemm m {} n {} k {} {}: {} x {} tiles, k in {} part{}", o.m, o.n, o.k,
                             name_of(shape.dtype), sim.choice.tile.bm, sim.choice.tile.bn, sim.choice.splits,
                             sim.choice.splits == 1 ? "" : "s");
  report.gpu = &gpu;
  report.dtype = shape.dtype;
  report.time = sim.time;
  report.parts.push_back({"gemm", static_cast<double>(sim.launch.time_ps) * 1e-6, sim.launch});
  report.useful_flops = 2.0 * static_cast<double>(o.m) * static_cast<double>(o.n) * static_cast<double>(o.k);
  if (sim.choice.splits > 1) report.extra_bytes = 4 * o.m * o.n * sim.choice.splits;
  report.sram_bytes_per_cta = sim.launch.smem_bytes;
  print_report(report, o.json, o.out, spans);
  return kOk;
}

struct CopyOptions {
  std::string gpu = "h100-sxm", bytes = "256M", l2 = "on", out;
  bool json = false;
};

int copy_command(const CopyOptions& o) {
  const Gpu gpu = load_gpu(o.gpu);
  const std::int64_t bytes = parse_tokens(o.bytes, "--bytes");
  if (bytes < 2) throw InputError("--bytes " + o.bytes + ": expected at least 2");
  ElementwiseProgram program;
  program.elements = bytes / 2;
  L2Tags tags = whole_l2(gpu, o.l2 != "off");
  std::vector<CtaSpan> spans;
  const LaunchResult launched = simulate_program(gpu, program, tags, o.out.empty() ? nullptr : &spans);
  KernelReport report;
  report.title = fmt::format("copy of {}", human_bytes(static_cast<double>(bytes)));
  report.gpu = &gpu;
  const KernelRates rates = published_rates(gpu);
  report.time.launch = gpu.graph_launch_us;
  report.time.total = static_cast<double>(launched.time_ps) * 1e-6 + gpu.graph_launch_us;
  report.time.hbm =
      static_cast<double>(launched.hbm_read_bytes + launched.hbm_write_bytes) / rates.hbm_bytes_per_ps * 1e-6;
  report.time.l2 =
      static_cast<double>(launched.loaded_bytes + launched.stored_bytes) / rates.l2_bytes_per_ps * 1e-6;
  report.parts.push_back({"copy", report.time.total, launched});
  print_report(report, o.json, o.out, spans);
  return kOk;
}

}  // namespace

void add_kernel_gemm(CLI::App& kernel, int& code) {
  const auto o = std::make_shared<GemmOptions>();
  kernel.add_option("--gpu", o->gpu, "a name under configs/gpus, or a path");
  kernel.add_option("--m", o->m, "rows (tokens)")
      ->required()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
  kernel.add_option("--n", o->n, "columns (output features)")
      ->required()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
  kernel.add_option("--k", o->k, "depth (input features)")
      ->required()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 24));
  kernel.add_option("--dtype", o->dtype, "bf16, fp16, fp8");
  kernel.add_option("--l2", o->l2, "off, on (empty at the start) or warm (what replays leave)")
      ->check(CLI::IsMember({"off", "on", "warm"}));
  kernel.add_option("--weight-copies", o->copies, "warm: weights that take turns; 0: never the same again")
      ->check(CLI::Range(0, 1 << 20));
  kernel.add_option("--out", o->out, "write a Chrome trace of the SMs");
  kernel.add_flag("--json", o->json, "machine-readable");
  kernel.callback([o, &code] { code = gemm_command(*o); });
}

void add_kernel_copy(CLI::App& kernel, int& code) {
  const auto o = std::make_shared<CopyOptions>();
  kernel.add_option("--gpu", o->gpu, "a name under configs/gpus, or a path");
  kernel.add_option("--bytes", o->bytes, "to copy, e.g. 512M");
  kernel.add_option("--l2", o->l2, "off or on")->check(CLI::IsMember({"off", "on"}));
  kernel.add_option("--out", o->out, "write a Chrome trace of the SMs");
  kernel.add_flag("--json", o->json, "machine-readable");
  kernel.callback([o, &code] { code = copy_command(*o); });
}

}  // namespace tessera
