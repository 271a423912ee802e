#include <algorithm>

#include "sim/gpu/launch.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kReservedSmem = 1024;  // per CTA, by the driver
constexpr std::int64_t kRegisters = 65536;    // 32-bit, per SM, on every card since Kepler
constexpr std::int64_t kMostCtas = 32;

}  // namespace

int occupancy(const Gpu& gpu, const CtaResources& r) {
  const std::int64_t by_smem = gpu.smem_per_sm_bytes / (r.smem_bytes + kReservedSmem);
  const std::int64_t by_registers = kRegisters / (std::int64_t{r.threads} * r.registers_per_thread);
  const std::int64_t by_threads = gpu.max_threads_per_sm / r.threads;
  return static_cast<int>(
      std::clamp<std::int64_t>(std::min({by_smem, by_registers, by_threads}), 1, kMostCtas));
}

}  // namespace tessera
