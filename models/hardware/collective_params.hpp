// Parameters of the collective closed forms (kernels/cost/collective.hpp). Rates are per rank, one way.
#pragma once

#include <string>

#include "models/base/spec.hpp"

namespace tessera {

// The serving frameworks' own all-reduce over peer-mapped buffers.
struct CustomAllReduceParams {
  double base_us = 4.5;  // one-shot at two GPUs
  double rank_us = 0.1;  // each further GPU: one more flag to wait for
  double one_shot_gb_s = 260;
  double two_shot_us = 1.5;  // the second phase, per doubling of ranks
  double two_shot_gb_s = 290;
  double limit_bytes = 8388608;  // from this size on NCCL runs instead
  double eager_host_us = 22;     // host floor of an eager launch
  void describe(Fields& f);
};

// NCCL: the least of its protocols LL, LL128 and Simple, and of in-switch reduction where there is one.
struct NcclParams {
  double base_us = 5;
  double step_us = 0.9;      // each ring step
  double all_to_all_us = 2;  // extra start of the point-to-point kernel
  double ll_gb_s = 10;
  double ll128_us = 1;
  double ll128_gb_s = 180;
  double all_to_all_ll128_us = 8;  // the point-to-point kernel's middle protocol
  double all_to_all_ll128_gb_s = 180;
  double simple_us = 13;
  double simple_gb_s = 340;
  double copy_share = 0.4;  // local copy of the own part, as a share of link traffic
  double switch_us = 30;    // in-switch reduction (NVLS)
  double switch_gb_s = 0;   // 0: none
  void describe(Fields& f);
};

struct CollectiveParams {
  std::string source;
  CustomAllReduceParams custom;
  NcclParams nccl;
  void describe(Fields& f);
};

}  // namespace tessera
