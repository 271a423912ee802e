#include "kernels/tiles/launch_figures.hpp"

#include "kernels/tiles/attention_totals.hpp"

namespace tessera {
namespace {

constexpr double kBackwardWork = 2;  // dQ, dK, dV, dP against S and O, recomputation not counted

template <class Launch>
LaunchFigures kernels_of(const Launch& launch, const AttentionProblem& problem) {
  LaunchFigures f;
  launch.for_each([&](const char* name, const auto& program) {
    f.kernels.push_back({name, program.ctas(), program.resources(), totals_of(program)});
    f.traffic += f.kernels.back().traffic;
    if (f.kernels.back().resources.smem_bytes > f.kernels[f.main].resources.smem_bytes)
      f.main = f.kernels.size() - 1;
  });
  f.useful_flops = problem.useful_flops();
  return f;
}

}  // namespace

LaunchFigures figures_of(const StandardAttention& launch, bool backward) {
  LaunchFigures f = kernels_of(launch, launch.kernels.front().problem);
  f.peak_extra_bytes = launch.peak_extra_bytes(backward);
  if (!backward) return f;
  f.traffic += launch.backward_traffic();
  f.useful_flops *= 1 + kBackwardWork;
  return f;
}

LaunchFigures figures_of(const FlashAttention1& program, bool backward) {
  LaunchFigures f = kernels_of(program, program.problem);
  f.peak_extra_bytes = program.peak_extra_bytes(backward);
  if (!backward) return f;
  f.traffic += program.backward_traffic();
  f.useful_flops *= 1 + kBackwardWork;
  return f;
}

LaunchFigures figures_of(const FlashLaunch& launch) {
  LaunchFigures f = kernels_of(launch, launch.forward.problem);
  f.peak_extra_bytes = launch.extra_bytes();
  return f;
}

}  // namespace tessera
