// Any tile program on a card that no table was fitted for: copies, unfused attention, FlashAttention-1. The
// card's published rates carry it: products and exponentials at the rated clock with the fitted factors of
// its attention kernels, latencies and L2 bandwidth as measured by micro-benchmarks, HBM at its best stream.
#pragma once

#include "sim/gpu/gemm_sim.hpp"
#include "sim/gpu/launch.hpp"

namespace tessera {

KernelRates published_rates(const Gpu& gpu);

// One kernel, launch gap not included. `tags` is the L2 as the kernels before left it.
template <class P>
LaunchResult simulate_program(const Gpu& gpu, const P& program, L2Tags& tags,
                              std::vector<CtaSpan>* spans = nullptr) {
  SmArray array;
  array.spans = spans;
  return simulate_launch(program, gpu, published_rates(gpu), tags, array);
}

// All of L2, off or empty.
L2Tags whole_l2(const Gpu& gpu, bool on);

}  // namespace tessera
