// Parameters of the fused mixture-of-experts closed form (kernels/cost/moe.hpp).
#pragma once

#include <optional>
#include <string>

#include "models/base/spec.hpp"

namespace tessera {

struct MoeRates {
  double floor_us = 26;             // t0: the eight to ten small kernels around the two GEMMs
  double permute_us = 3.8;          // per doubling of 64 assignments: align and sort
  double per_100_experts_us = 1.7;  // counting and offsets
  double compute_fraction = 0.9;    // of the tensor rate at the maximum clock
  double hbm_fraction = 0.9;        // of pin bandwidth, expert weights
  double l2_feed_gb_s = 9000;
  double serial_ns_per_k = 0.7;
  double wave_quantisation = 0.5;
  double elementwise_fraction = 0.75;  // of pin bandwidth, activation and combine kernels
  // Triton kernels with an expert map walk the assignments of all ranks; CUTLASS ones only their own.
  bool all_assignments = true;
  void describe(Fields& f);
};

struct MoeParams : MoeRates {  // of 16-bit experts
  std::string source;
  std::optional<MoeRates> mxfp4;  // 4-bit experts, converted in the kernel and multiplied in bf16
  void describe(Fields& f);
};

}  // namespace tessera
