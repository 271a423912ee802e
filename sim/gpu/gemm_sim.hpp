// y[m,n] = x[m,k] W[k,n] at tile grain: what gemm_time says in closed form, simulated. Model: gemm_sim.cpp.
#pragma once

#include "kernels/cost/gemm.hpp"
#include "sim/gpu/launch.hpp"

namespace tessera {

struct GemmSimulation {
  OpTime time;
  GemmChoice choice;
  LaunchResult launch;
};

enum class L2Mode { off, on, warm };  // no L2 · cold at the first launch · what replays of the buffers leave

// `weight_copies` of the shape says how a replay finds the weights; `mode` off or on overrides it.
GemmSimulation simulate_gemm(const Gpu& gpu, const GemmShape& shape, L2Mode mode = L2Mode::warm,
                             std::vector<CtaSpan>* spans = nullptr);

// ... with tile and split given.
GemmSimulation simulate_gemm_as(const Gpu& gpu, const GemmShape& shape, GemmChoice choice,
                                L2Mode mode = L2Mode::warm, std::vector<CtaSpan>* spans = nullptr);

// One launch, at the best of the residencies that its shared memory allows. L2 holds what replays leave;
// after it, what the last residency tried has touched.
LaunchResult simulate_gemm_launch(const GemmProgram& program, const Gpu& gpu, const KernelRates& rates,
                                  L2Tags& tags, SmArray& array, std::vector<CtaSpan>* spans = nullptr);

}  // namespace tessera
