// What the simulation of one launch goes by, and what it gives.
#pragma once

#include <cstdint>

namespace tessera {

// How fast one kernel's CTAs work on one card. Times in ps.
struct KernelRates {
  double ps_per_flop = 0;  // of one SM's tensor cores
  double ps_per_exp = 0;
  double ps_per_alu = 0;        // fp32 operations around the exponentials
  double step_compute_ps = 0;   // of a step, besides
  double step_floor_ps = 0;     // least time between two steps: the serial chain of products and barriers
  double dram_latency_ps = 0;   // of a load that misses L2 ...
  double l2_latency_ps = 0;     // ... and of one that hits
  double load_ps_per_byte = 0;  // of one CTA after the latency
  double edge_ps_per_byte = 0;  // of what a CTA loads before and stores after its loop
  double prologue_ps = 0;
  double exposed_prologue = 1;  // share of it that a persistent CTA's loads cannot run ahead of
  double epilogue_ps = 0;
  double idle_ps = 0;  // of a CTA that finds nothing to do
  double hbm_bytes_per_ps = 1;
  double l2_bytes_per_ps = 1;
  double store_weight = 1;  // L2 time of a stored byte / of a loaded one
  double wave_quantisation = 1;
  bool waits_for_others = false;  // a hit on what another CTA has just asked for waits as long as that one
  bool keeps_keys = false;  // Q and O are loaded and stored evict-first, so that they push no K and V out
  int hbm_exponent = 3, l2_exponent = 4;  // see sm_array.hpp
};

struct LaunchResult {
  std::int64_t time_ps = 0;
  std::int64_t ctas = 0, steps = 0, events = 0;
  int ctas_per_sm = 1;
  std::int64_t smem_bytes = 0;                      // of a CTA
  std::int64_t loaded_bytes = 0, stored_bytes = 0;  // between SMs and L2
  std::int64_t hbm_read_bytes = 0, hbm_write_bytes = 0;
  std::int64_t executed_flops = 0, exponentials = 0;
  double sm_busy_ps = 0;
};

}  // namespace tessera
