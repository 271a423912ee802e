// One GPU, as its datasheet and published micro-benchmarks describe it. Units are in the names.
// How its kernels behave (fitted figures) is apart, in KernelBehaviour, because cards of one
// architecture share it: configs/kernels/*.yaml.
#pragma once

#include <optional>
#include <string>

#include "models/base/spec.hpp"
#include "models/base/units.hpp"
#include "models/hardware/kernel_behaviour.hpp"

namespace tessera {

enum class DType { bf16, fp16, fp8, int8, fp4, fp32 };
double bytes_of(DType type);                 // 2, 2, 1, 1, 0.5, 4
DType parse_dtype(const std::string& name);  // throws InputError with a suggestion
const char* name_of(DType type);

struct Gpu {
  std::string name;
  std::string title;
  std::string architecture;  // one of kArchitectures
  std::string status;        // "calibrated": own kernel tables; "estimated": nearest architecture's behaviour
  std::string source;        // for plain numbers without a source of their own

  // Compute.
  Sourced<std::int64_t> sms;
  Sourced<double> max_clock_mhz;          // the physics floor uses this clock
  Sourced<double> bf16_flops_per_clk_sm;  // dense tensor rate, 2 per multiply-add, fp32 accumulate
  Sourced<double> fp8_flops_per_clk_sm;   // 0: none
  Sourced<double> int8_flops_per_clk_sm;  // 0: none
  Sourced<double> fp4_flops_per_clk_sm;   // 0: none
  Sourced<double> datasheet_bf16_tflops;  // the figure printed on the datasheet, for utilisation
  Sourced<double> exp_per_clk_sm;
  Sourced<std::int64_t> max_threads_per_sm;
  Sourced<std::int64_t> smem_per_cta_bytes;  // most one CTA can use
  Sourced<std::int64_t> smem_per_sm_bytes;   // most all CTAs of one SM can use

  // Memory.
  Sourced<std::int64_t>
      memory_bytes;          // total the driver reports (device_total_memory), below the marketing size
  Sourced<double> hbm_gb_s;  // pin bandwidth, 1e9 B/s
  Sourced<double> hbm_achieved_fraction;  // best read stream / pin bandwidth (ECC included)
  Sourced<std::int64_t> l2_bytes;
  Sourced<std::int64_t> l2_partitions;  // 2: each half keeps its own copy of shared lines
  Sourced<double> l2_gb_s;              // measured aggregate read bandwidth
  Sourced<double> dram_latency_ns;
  Sourced<double> l2_latency_ns;

  // Links and launch.
  Sourced<double> nvlink_gb_s;          // one way, all links of the GPU; 0: none
  Sourced<double> pcie_gb_s;            // one way, achieved host copies
  Sourced<double> graph_launch_us;      // between dependent kernels of a replayed CUDA graph
  Sourced<double> stream_launch_us;     // between kernels of one stream
  Sourced<std::int64_t> gpus_per_node;  // the usual node, for fabric: auto
  Sourced<double> tdp_w;

  Ref<KernelBehaviour> kernels;

  void describe(Fields& f);

  [[nodiscard]] double peak_flops(DType type) const;  // FLOP/s at the maximum clock: the physics floor
  [[nodiscard]] double clock_ghz() const { return max_clock_mhz * 1e-3; }
  [[nodiscard]] double hbm_bytes_per_us() const { return hbm_gb_s * 1e3; }
};

// Replaces kernel behaviour borrowed from another card (kernels->card) by the same rescaled to this one, and
// names this card in it; the sections' sources keep saying where the figures come from. No-op on a card with
// its own.
void carry_over_kernels(Gpu& gpu);

// The file of a name under configs/gpus or of a path, with borrowed kernel behaviour carried over.
Gpu load_gpu(const std::string& name_or_path);

}  // namespace tessera
