// One launch of a tile program on one card: hands what its CTAs demand (launch_walk.hpp) to the SM array.
#pragma once

#include <algorithm>

#include "models/hardware/gpu.hpp"
#include "sim/gpu/launch_walk.hpp"

namespace tessera {

// Whether all CTAs of this launch do the same on bytes of their own, so that one stands for all.
template <class P>
bool equal_ctas(const P&) {
  return false;
}
bool equal_ctas(const FlashForward& f);

inline constexpr int kMostCtasPerSm = 32;
// CTAs one SM holds: shared memory (1 KB of it reserved for each), registers, threads, kMostCtasPerSm.
int occupancy(const Gpu& gpu, const CtaResources& r);

template <class P>
LaunchResult simulate_launch(const P& program, const Gpu& gpu, const KernelRates& rates, L2Tags& tags,
                             SmArray& array, int most_ctas_per_sm = kMostCtasPerSm) {
  const CtaResources resources = program.resources();
  LaunchWalk<P> walk(program, rates, resources.stages, tags);
  SmArraySpec spec;
  spec.sms = gpu.sms;
  spec.ctas_per_sm = std::min(most_ctas_per_sm, occupancy(gpu, resources));
  spec.hbm_bytes_per_ps = rates.hbm_bytes_per_ps;
  spec.l2_bytes_per_ps = rates.l2_bytes_per_ps;
  spec.hbm_exponent = rates.hbm_exponent;
  spec.l2_exponent = rates.l2_exponent;
  spec.prologue_ps = rates.prologue_ps;
  spec.order = program.order();
  spec.wave_quantisation = rates.wave_quantisation;
  const double before = tags.passed();
  ArrayResult array_result;
  if (array.spans == nullptr && array.lists == nullptr && equal_ctas(program)) {
    const CtaRun one = walk.begin(0);
    walk.repeat(program.ctas());
    array_result = array.run_equal(spec, program.ctas(), one);
  } else {
    array_result = array.run(spec, program.ctas(), [&](std::int64_t cta, double passed) {
      tags.advance(before + passed);
      return walk.begin(cta);
    });
  }
  tags.advance(before + array_result.passed);
  walk.close();
  LaunchResult result = walk.result;
  result.time_ps = array_result.time_ps;
  result.events = array_result.events;
  result.sm_busy_ps = array_result.sm_busy_ps;
  result.ctas = program.ctas();
  result.ctas_per_sm = spec.ctas_per_sm;
  result.smem_bytes = resources.smem_bytes;
  return result;
}

}  // namespace tessera
