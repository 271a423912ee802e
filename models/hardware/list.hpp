// The cards on offer, one row each: what `tessera list gpus` prints.
#pragma once

#include <string>
#include <vector>

#include "models/hardware/gpu.hpp"

namespace tessera {

struct GpuSummary {
  std::string name;
  std::string title;
  std::string architecture;
  std::string status;   // calibrated | estimated
  std::string kernels;  // the kernel behaviour it uses: its own name, or the card it borrows from
  std::int64_t sms = 0;
  double peak_bf16_tflops = 0;  // at the maximum clock
  double datasheet_bf16_tflops = 0;
  double memory_gib = 0;
  double hbm_gb_s = 0;
  double l2_mib = 0;
  double nvlink_gb_s = 0;  // one way
  std::int64_t gpus_per_node = 0;
  int estimated_numbers = 0;  // how many of its figures are estimates, not published or measured ones
};

GpuSummary summary_of(const Gpu& gpu);
std::vector<GpuSummary> list_gpus();  // all of configs/gpus, by name

}  // namespace tessera
