// `tessera kernel hbm`: what one channel of a described memory can do.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "models/hardware/hbm.hpp"
#include "sim/cli/commands.hpp"
#include "sim/cli/kernel_command.hpp"

namespace tessera {
namespace {

struct HbmOptions {
  std::string memory = "hbm3-6.4";
  bool json = false;
};

int hbm_command(const HbmOptions& options) {
  const HbmSpec spec = load_hbm(options.memory);
  const double conflict_ns = static_cast<double>(spec.conflict_latency().count()) * 1e-3;
  if (options.json) {
    const nlohmann::ordered_json out{
        {"memory", spec.name}, {"peak_gb_s", spec.peak_gb_s()}, {"conflict_latency_ns", conflict_ns}};
    fmt::print("{}\n", out.dump(2));
    return kOk;
  }
  fmt::print("{}\n  peak {:.1f} GB/s, a read that closes and opens a row {:.1f} ns\n", spec.title,
             spec.peak_gb_s(), conflict_ns);
  return kOk;
}

}  // namespace

void add_kernel_hbm(CLI::App& kernel, int& code) {
  const auto options = std::make_shared<HbmOptions>();
  kernel.add_option("--memory", options->memory, "a name under configs/memories, or a file");
  kernel.add_flag("--json", options->json, "machine-readable");
  kernel.callback([options, &code] { code = hbm_command(*options); });
}

}  // namespace tessera
