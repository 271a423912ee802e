// The byte side of one kernel call, for reports: what it moves with L2 off, what it needs beside its inputs
// and outputs, and how its CTAs are cut. Backward passes are counted, not run, and bring no kernels of their
// own.
#pragma once

#include <string>
#include <vector>

#include "kernels/tiles/attention_fa1.hpp"
#include "kernels/tiles/attention_launch.hpp"
#include "kernels/tiles/attention_standard.hpp"

namespace tessera {

struct KernelFigures {
  std::string name;
  std::int64_t ctas = 0;
  CtaResources resources;
  Traffic traffic;  // in closed form: alu_ops stay 0
};

struct LaunchFigures {
  std::vector<KernelFigures> kernels;  // in launch order
  std::size_t main = 0;                // the one whose CTAs a report quotes: the largest in shared memory
  Traffic traffic;                     // of all, backward included
  std::int64_t peak_extra_bytes = 0;
  double useful_flops = 0;  // products of (query, key) pairs that are seen

  [[nodiscard]] std::int64_t hbm_read_bytes() const { return traffic.read_bytes(); }
  [[nodiscard]] std::int64_t hbm_write_bytes() const { return traffic.written_bytes(); }
  [[nodiscard]] std::int64_t executed_flops() const { return traffic.mma_flops; }
  [[nodiscard]] std::int64_t sram_bytes_per_cta() const { return kernels[main].resources.smem_bytes; }
  [[nodiscard]] std::int64_t ctas() const { return kernels[main].ctas; }
};

LaunchFigures figures_of(const StandardAttention& launch, bool backward = false);
LaunchFigures figures_of(const FlashAttention1& program, bool backward = false);
LaunchFigures figures_of(const FlashLaunch& launch);

}  // namespace tessera
