// A machine for the measuring program whose kernels run thread by thread on the host, and whose clock is
// a script. Memory is the host's own; every launch is counted.
#pragma once

#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

#include "kernels/host/simt.hpp"
#include "kernels/measure/machine.hpp"
#include "models/base/error.hpp"

namespace tessera::test {

class EmulatedMachine : public measure::Machine {
 public:
  measure::DeviceInfo device{.name = "Emulated Card",
                             .driver = "0.0",
                             .major = 8,
                             .minor = 0,
                             .sms = host::EmulatedLane::kSms,
                             .l2_bytes = 1 << 16,
                             .memory_bytes = std::int64_t{1} << 30,
                             .smem_per_cta = 166912,
                             .smem_per_sm = 167936,
                             .sm_clock_mhz = 1000,
                             .memory_clock_mhz = 1000};
  std::uint64_t seed = 1;
  bool has_gemm = true;
  double op_ms = 0.25;                 // of every op timed
  std::map<int, int> launches;         // by kernel number
  std::int64_t allocated = 0;          // bytes alive
  std::map<int, std::int64_t> copied;  // bytes read by asynchronous copies, by kernel number
  std::int64_t timed_ops = 0;
  std::vector<measure::Timing> timings;

  measure::DeviceInfo info() override { return device; }
  double clock_mhz() override { return device.sm_clock_mhz; }
  void* allocate(std::int64_t bytes, measure::Where) override {
    if (allocated + bytes > device.memory_bytes) throw RunError("out of device memory");
    void* const memory = std::aligned_alloc(256, static_cast<std::size_t>((bytes + 255) / 256 * 256));
    std::memset(memory, 0xff, static_cast<std::size_t>(bytes));
    sizes_[memory] = bytes, allocated += bytes;
    return memory;
  }
  void release(void* memory, measure::Where) noexcept override {
    allocated -= sizes_[memory];
    sizes_.erase(memory);
    std::free(memory);
  }
  void copy(void* to, const void* from, std::int64_t bytes) override {
    std::memmove(to, from, static_cast<std::size_t>(bytes));
  }
  void fill(void* to, int byte, std::int64_t bytes) override {
    std::memset(to, byte, static_cast<std::size_t>(bytes));
  }
  void finish() override {}
  void launch(int kernel, const cuda::Grid& grid, const void* arguments) override {
    ++launches[kernel];
    run(kernel, grid, arguments, std::make_index_sequence<cuda::kKernelCount>());
  }
  using Machine::launch;

  std::string gemm_library(std::string& why) override {
    if (!has_gemm) why = "no library here";
    return has_gemm ? "plain_loops" : "";
  }
  void multiply(const measure::Product& p) override {
    for (std::int64_t i = 0; i < p.m; ++i)
      for (std::int64_t j = 0; j < p.n; ++j) {
        float sum = 0;
        for (std::int64_t k = 0; k < p.k; ++k)
          sum += host::from_half(p.a[i * p.k + k], p.format) * host::from_half(p.b[j * p.k + k], p.format);
        p.c[i * p.n + j] = host::to_half(sum, p.format);
      }
  }
  // Runs one op, so that what it enqueues is seen to work; the times are made up.
  std::vector<double> time_ms(const measure::Timing& timing,
                              const std::function<void(std::int64_t)>& enqueue) override {
    timings.push_back(timing);
    timed_ops += timing.ops * (timing.warmup + timing.repeats);
    enqueue(timing.ops - 1);
    return std::vector<double>(static_cast<std::size_t>(timing.repeats), op_ms);
  }

 private:
  template <std::size_t... kAt>
  void run(int kernel, const cuda::Grid& grid, const void* arguments, std::index_sequence<kAt...>) {
    const host::EmulatedLaunch launch{grid.ctas, grid.threads, grid.shared_bytes, seed++, &copied[kernel]};
    const auto one = [&]<std::size_t kOne>() {
      using Kernel = std::tuple_element_t<kOne, cuda::Kernels>;
      if (kernel == static_cast<int>(kOne))
        host::emulate_kernel<Kernel>(launch, *static_cast<const typename Kernel::Arguments*>(arguments));
    };
    (one.template operator()<kAt>(), ...);
  }
  std::map<void*, std::int64_t> sizes_;
};

}  // namespace tessera::test
