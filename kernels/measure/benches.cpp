// Every kernel and micro-benchmark the program measures, one line each.
#include "kernels/measure/attention_bench.hpp"
#include "kernels/measure/gemm_bench.hpp"
#include "kernels/measure/memory_bench.hpp"
#include "models/base/check.hpp"

namespace tessera::measure {

const std::vector<Bench>& benches() {
  static const std::vector<Bench> all = {gemm_bench(),
                                         context_attention_bench(),
                                         generation_attention_bench(),
                                         attention_standard_bench(),
                                         kv_block_copy_bench(),
                                         hbm_bench(),
                                         l2_bench(),
                                         latency_bench(),
                                         sram_bench(),
                                         launch_bench(),
                                         host_copy_bench(),
                                         in_flight_bench(),
                                         kv_gather_bench()};
  return all;
}

const Bench& bench_of(std::string_view kernel) {
  for (const Bench& bench : benches())
    if (bench.kernel == kernel) return bench;
  TESSERA_CHECK(false, "a plan's section is a bench");
  return benches().front();
}

}  // namespace tessera::measure
