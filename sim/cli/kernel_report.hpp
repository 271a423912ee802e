// What `tessera kernel` prints of a simulated launch: the JSON keys of the interface, a table of bytes per
// level, a roofline line, and on request a Chrome trace of the SMs.
#pragma once

#include <string>
#include <vector>

#include "kernels/cost/op_time.hpp"
#include "models/hardware/gpu.hpp"
#include "sim/gpu/launch.hpp"

namespace tessera {

struct KernelPart {
  std::string kernel;
  double us = 0;
  LaunchResult launch;
};

struct KernelReport {
  std::string title;
  const Gpu* gpu = nullptr;
  DType dtype = DType::bf16;
  OpTime time;
  std::vector<KernelPart> parts;  // in launch order
  std::size_t main = 0;           // whose CTAs are quoted
  double useful_flops = 0;
  std::int64_t extra_bytes = 0;  // memory beside inputs and outputs
  std::int64_t sram_bytes_per_cta = 0;
  std::int64_t unsimulated_read = 0, unsimulated_write = 0;  // counted, not timed: backward passes
};

std::string to_json(const KernelReport& report);
std::string to_text(const KernelReport& report);
// One row per CTA slot, one slice per CTA with its prologue and loop; opens in Perfetto.
std::string sm_timeline(const std::vector<CtaSpan>& spans);

// Prints as asked and writes the timeline to `out` if it is not empty.
void print_report(const KernelReport& report, bool json, const std::string& out,
                  const std::vector<CtaSpan>& spans);

}  // namespace tessera
