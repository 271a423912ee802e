#include "models/hardware/gpu.hpp"

#include <algorithm>

#include "models/hardware/rescale.hpp"

namespace tessera {
namespace {

// Tensor-core generations as far as kernels care. One name can cover two dies when they differ only in size.
const std::vector<std::string> kArchitectures{
    "volta",            // sm_70
    "turing",           // sm_75
    "ampere",           // sm_80: GA100, HBM, two L2 partitions
    "ampere-ga10x",     // sm_86: GDDR6, half the threads and the shared memory
    "ada",              // sm_89
    "hopper",           // sm_90
    "blackwell",        // sm_100: HBM, tensor memory
    "blackwell-gb20x",  // sm_120: GDDR7, Ada-sized shared memory
};

}  // namespace

void Gpu::describe(Fields& f) {
  f.field("name", name, {.doc = "name of this file", .required = true});
  f.field("title", title, {.doc = "the vendor's name for the card", .required = true});
  f.choice("architecture", architecture, kArchitectures, {.doc = "chip family", .required = true});
  f.choice("status", status, {"calibrated", "estimated"},
           {.doc = "calibrated: fitted on this card's own kernel tables; estimated: borrowed behaviour",
            .required = true});
  f.field("source", source, {.doc = "source of every plain number without one of its own"});

  f.field("sms", sms, {.doc = "streaming multiprocessors", .min = 1, .max = 1024, .required = true});
  f.field("max_clock_mhz", max_clock_mhz,
          {.doc = "highest SM clock; the physics floor uses it",
           .unit = "MHz",
           .min = 100,
           .max = 5000,
           .required = true});
  f.field("bf16_flops_per_clk_sm", bf16_flops_per_clk_sm,
          {.doc = "dense bf16/fp16 tensor rate with fp32 accumulation, a multiply-add counting 2",
           .unit = "FLOP/clock/SM",
           .min = 1,
           .max = 1e6,
           .required = true});
  f.field("fp8_flops_per_clk_sm", fp8_flops_per_clk_sm,
          {.doc = "dense fp8 tensor rate; 0: none",
           .unit = "FLOP/clock/SM",
           .min = 0,
           .max = 1e6,
           .required = true});
  f.field("int8_flops_per_clk_sm", int8_flops_per_clk_sm,
          {.doc = "dense int8 tensor rate; 0: none",
           .unit = "OP/clock/SM",
           .min = 0,
           .max = 1e6,
           .required = true});
  f.field("fp4_flops_per_clk_sm", fp4_flops_per_clk_sm,
          {.doc = "dense fp4 tensor rate; 0: none",
           .unit = "FLOP/clock/SM",
           .min = 0,
           .max = 1e6,
           .required = true});
  f.field("datasheet_bf16_tflops", datasheet_bf16_tflops,
          {.doc = "dense bf16 rate the datasheet prints",
           .unit = "TFLOP/s",
           .min = 0.1,
           .max = 1e5,
           .required = true});
  f.field("exp_per_clk_sm", exp_per_clk_sm,
          {.doc = "exponentials of the special-function units",
           .unit = "1/clock/SM",
           .min = 1,
           .max = 1024,
           .required = true});
  f.field("max_threads_per_sm", max_threads_per_sm,
          {.doc = "resident threads of one SM", .min = 32, .max = 8192, .required = true});
  f.field("smem_per_cta_bytes", smem_per_cta_bytes,
          {.doc = "most shared memory one CTA can use",
           .unit = "B",
           .min = 1024,
           .max = 16 << 20,
           .required = true});
  f.field("smem_per_sm_bytes", smem_per_sm_bytes,
          {.doc = "most shared memory all CTAs of one SM can use",
           .unit = "B",
           .min = 1024,
           .max = 16 << 20,
           .required = true});

  f.field("memory_bytes", memory_bytes,
          {.doc = "total the driver reports, below the marketing size",
           .unit = "B",
           .min = 1 << 20,
           .required = true});
  f.field("hbm_gb_s", hbm_gb_s,
          {.doc = "device-memory pin bandwidth", .unit = "GB/s", .min = 1, .max = 1e6, .required = true});
  f.field("hbm_achieved_fraction", hbm_achieved_fraction,
          {.doc = "best read stream against pin bandwidth, ECC included",
           .min = 0.1,
           .max = 1,
           .required = true});
  f.field("l2_bytes", l2_bytes, {.doc = "L2 capacity", .unit = "B", .min = 1 << 16, .required = true});
  f.field("l2_partitions", l2_partitions,
          {.doc = "2: each half keeps its own copy of lines both halves read",
           .min = 1,
           .max = 2,
           .required = true});
  f.field("l2_gb_s", l2_gb_s,
          {.doc = "aggregate L2 read bandwidth", .unit = "GB/s", .min = 1, .max = 1e6, .required = true});
  f.field("dram_latency_ns", dram_latency_ns,
          {.doc = "pointer chase to device memory", .unit = "ns", .min = 1, .max = 1e5, .required = true});
  f.field("l2_latency_ns", l2_latency_ns,
          {.doc = "pointer chase to the near L2 partition",
           .unit = "ns",
           .min = 1,
           .max = 1e5,
           .required = true});

  f.field("nvlink_gb_s", nvlink_gb_s,
          {.doc = "NVLink, one way, all links of the GPU; 0: none",
           .unit = "GB/s",
           .min = 0,
           .max = 1e5,
           .required = true});
  f.field(
      "pcie_gb_s", pcie_gb_s,
      {.doc = "host copies, one way, as achieved", .unit = "GB/s", .min = 0.1, .max = 1e4, .required = true});
  f.field("graph_launch_us", graph_launch_us,
          {.doc = "between dependent kernels of a replayed CUDA graph",
           .unit = "us",
           .min = 0,
           .max = 1e3,
           .required = true});
  f.field("stream_launch_us", stream_launch_us,
          {.doc = "between kernels of one stream", .unit = "us", .min = 0, .max = 1e3, .required = true});
  f.field("gpus_per_node", gpus_per_node,
          {.doc = "GPUs of the usual node, for fabric: auto", .min = 1, .max = 16, .required = true});
  f.field("tdp_w", tdp_w, {.doc = "board power", .unit = "W", .min = 1, .max = 1e4, .required = true});

  f.reference("kernels", kernels, "kernels", {.doc = "how its kernels behave", .required = true});

  f.check(smem_per_cta_bytes <= smem_per_sm_bytes, "smem_per_cta_bytes",
          "a CTA cannot use more shared memory than its SM has, expected at most smem_per_sm_bytes");
  f.check(l2_bytes < memory_bytes, "l2_bytes",
          "larger than device memory, expected fewer bytes than memory_bytes");
  f.check(l2_latency_ns < dram_latency_ns, "l2_latency_ns",
          "an L2 hit cannot be slower than device memory, expected less than dram_latency_ns");
  f.check(graph_launch_us <= stream_launch_us, "graph_launch_us",
          "a replayed graph cannot launch more slowly than a stream, expected at most stream_launch_us");
}

double Gpu::peak_flops(DType type) const {
  double per_clk_sm = bf16_flops_per_clk_sm;
  switch (type) {
    case DType::bf16:
    case DType::fp16:
      break;
    // A format without units of its own is converted and multiplied in bf16.
    case DType::fp8:
      per_clk_sm = std::max(per_clk_sm, fp8_flops_per_clk_sm.value);
      break;
    case DType::int8:
      per_clk_sm = std::max(per_clk_sm, int8_flops_per_clk_sm.value);
      break;
    case DType::fp4:
      per_clk_sm = std::max(per_clk_sm, fp4_flops_per_clk_sm.value);
      break;
    // TF32 runs at half the bf16 rate wherever it exists, and no card's FP32 lanes exceed that: an upper
    // bound.
    case DType::fp32:
      per_clk_sm /= 2;
      break;
  }
  return per_clk_sm * static_cast<double>(sms) * max_clock_mhz * 1e6;
}

void carry_over_kernels(Gpu& gpu) {
  KernelBehaviour& kernels = gpu.kernels.value;
  if (kernels.card == gpu.name) return;
  const Location asked_at{gpu.name + ": kernels: " + gpu.kernels.name, 0, 0};
  Gpu from;
  read_spec(load_config("gpus", kernels.card, asked_at), from);
  if (from.kernels->card != from.name)
    throw InputError(asked_at, "card '" + from.name + "' borrows its kernels from '" + from.kernels->card +
                                   "', expected a card with kernel tables of its own");
  kernels = rescaled(kernels, from, gpu);
  kernels.card = gpu.name;
}

Gpu load_gpu(const std::string& name_or_path) {
  Gpu gpu = read_config<Gpu>("gpus", name_or_path);
  carry_over_kernels(gpu);
  return gpu;
}

}  // namespace tessera
