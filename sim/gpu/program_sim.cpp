#include "sim/gpu/program_sim.hpp"

namespace tessera {

KernelRates published_rates(const Gpu& gpu) {
  const AttentionRates& fitted = gpu.kernels->tile.attention.rates;
  const double sms = static_cast<double>(gpu.sms.value);
  const double clock_mhz = gpu.datasheet_bf16_tflops * 1e6 / (gpu.bf16_flops_per_clk_sm * sms);
  KernelRates r;
  r.ps_per_flop = fitted.mma_factor * 1e6 / (clock_mhz * gpu.bf16_flops_per_clk_sm);
  r.ps_per_exp = fitted.exp_factor * 1e6 / (clock_mhz * gpu.exp_per_clk_sm);
  r.dram_latency_ps = gpu.dram_latency_ns * 1e3;
  r.l2_latency_ps = gpu.l2_latency_ns * 1e3;
  r.prologue_ps = gpu.dram_latency_ns * 1e3;
  r.load_ps_per_byte = 1e3 / fitted.cta_gb_s;
  r.hbm_bytes_per_ps = gpu.hbm_gb_s * gpu.hbm_achieved_fraction * 1e-3;
  r.l2_bytes_per_ps = gpu.l2_gb_s * 1e-3;
  r.waits_for_others = true;
  return r;
}

L2Tags whole_l2(const Gpu& gpu, bool on) {
  return L2Tags({on ? static_cast<double>(gpu.l2_bytes.value) : 0.0, gpu.l2_partitions == 2});
}

}  // namespace tessera
