#include "sim/cli/kernel_command.hpp"

#include <CLI/CLI.hpp>

namespace tessera {

const std::vector<KernelEntry>& kernel_entries() {
  static const std::vector<KernelEntry> entries = {
      {"attention-standard", "unfused attention: every step through memory", add_kernel_attention_standard},
      {"attention-flash", "FlashAttention 1, 2 or 3", add_kernel_attention_flash},
      {"attention-decode", "paged decode with split keys", add_kernel_attention_decode},
      {"gemm", "a matrix product as the library tiles it", add_kernel_gemm},
      {"copy", "a copy through HBM", add_kernel_copy},
      {"hbm", "one HBM channel: banks, rows, refresh, FR-FCFS", add_kernel_hbm},
  };
  return entries;
}

void add_kernel_commands(CLI::App& app, int& code) {
  CLI::App* kernel = app.add_subcommand("kernel", "one kernel or memory channel, simulated in detail");
  kernel->require_subcommand(1);
  for (const KernelEntry& entry : kernel_entries())
    entry.add_options(*kernel->add_subcommand(entry.name, entry.doc), code);
}

}  // namespace tessera
