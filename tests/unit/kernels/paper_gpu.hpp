// A card with round numbers, so that expected times can be worked out on paper.
#pragma once

#include "models/hardware/gpu.hpp"

namespace tessera {

// 100 SMs x 1,000 FLOP/clk at 1 GHz = 100 TFLOP/s (fp8: 200); 1,000 GB/s; 100 MB of L2; 100 GB/s of NVLink.
inline Gpu paper_gpu() {
  Gpu g;
  g.name = "paper";
  g.sms.value = 100;
  g.max_clock_mhz.value = 1000;
  g.bf16_flops_per_clk_sm.value = 1000;
  g.fp8_flops_per_clk_sm.value = 2000;
  g.int8_flops_per_clk_sm.value = 2000;
  g.datasheet_bf16_tflops.value = 100;
  g.hbm_gb_s.value = 1000;
  g.hbm_achieved_fraction.value = 0.9;
  g.l2_bytes.value = 100'000'000;
  g.l2_partitions.value = 1;
  g.l2_gb_s.value = 4000;
  g.dram_latency_ns.value = 400;
  g.l2_latency_ns.value = 200;
  g.nvlink_gb_s.value = 100;
  g.pcie_gb_s.value = 20;
  g.graph_launch_us.value = 1;
  g.stream_launch_us.value = 2;
  g.gpus_per_node.value = 8;
  GemmParams& p = g.kernels->gemm;
  p.floor_us = 2;
  p.serial_ns_per_k = 2;
  p.gemv_serial_ns_per_k = 1;
  p.compute_fraction = 1;
  p.hbm_fraction = 0.8;
  p.l2_feed_gb_s = 10000;
  p.split_us = 3;
  p.epilogue_us = 0;
  p.l2_share = 0.5;
  p.l2_sharpness = 6;
  p.wave_quantisation = 1;
  return g;
}

}  // namespace tessera
