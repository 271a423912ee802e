#include <algorithm>

#include "sim/gpu/launch.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kReservedSmem = 1024;  // per CTA, by the driver
constexpr std::int64_t kRegisters = 65536;    // 32-bit, per SM, on every card since Kepler

}  // namespace

bool equal_ctas(const FlashForward& f) {
  const AttentionSequence& first = f.problem.sequences.front();
  if (first.queries != 1 || (!f.packed && f.problem.group() > 1)) return false;
  for (const AttentionSequence& s : f.problem.sequences)
    if (s.queries != 1 || s.keys != first.keys) return false;
  if (f.group() > f.tile.m || f.splits_of(0) > 1) return false;
  return true;
}

int occupancy(const Gpu& gpu, const CtaResources& r) {
  const std::int64_t by_smem = gpu.smem_per_sm_bytes / (r.smem_bytes + kReservedSmem);
  const std::int64_t by_registers = kRegisters / (std::int64_t{r.threads} * r.registers_per_thread);
  const std::int64_t by_threads = gpu.max_threads_per_sm / r.threads;
  return static_cast<int>(
      std::clamp<std::int64_t>(std::min({by_smem, by_registers, by_threads}), 1, kMostCtasPerSm));
}

}  // namespace tessera
