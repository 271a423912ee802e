// One attention call at tile grain: KV write, copies, main kernel, combine, one after another as a replayed
// graph runs them. Model: attention_sim.cpp.
#pragma once

#include <string>
#include <vector>

#include "kernels/cost/attention.hpp"
#include "kernels/tiles/attention_launch.hpp"
#include "sim/gpu/gemm_sim.hpp"
#include "sim/gpu/launch.hpp"

namespace tessera {

struct AttentionSimulation {
  struct Part {
    const char* kernel;
    double us;  // launch gap included
    LaunchResult launch;
  };
  OpTime time;
  std::vector<Part> parts;
  FlashLaunch program;
};

struct AttentionSimOptions {
  std::string kernel;  // fa2 | fa3; empty: what the card runs
  L2Mode l2 = L2Mode::warm;
  bool count_small_kernels = false;       // bytes of KV write, copies and combine too
  double paging = 1;                      // KV read time against 64-token pages
  std::vector<CtaSpan>* spans = nullptr;  // of the main kernel
};

AttentionSimulation simulate_attention(const Gpu& gpu, const AttentionProblem& problem,
                                       const AttentionSimOptions& options = {});

}  // namespace tessera
