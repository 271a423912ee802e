// With L2 off the SM array moves through HBM exactly the bytes that the host executor and the counting walk
// move, and executes the same products and exponentials, for every kernel of every attention launch and for
// GEMM.
#include <gtest/gtest.h>

#include "kernels/tiles/attention_totals.hpp"
#include "kernels/tiles/gemm_program.hpp"
#include "kernels/tiles/split_sum_program.hpp"
#include "sim/gpu/launch.hpp"
#include "tests/support/attention_reference.hpp"
#include "tests/support/fixed_shapes.hpp"

namespace tessera {
namespace {

KernelRates some_rates() {
  KernelRates r;
  r.ps_per_flop = 1e-3, r.ps_per_exp = 1;
  r.dram_latency_ps = 5e5, r.l2_latency_ps = 2e5;
  r.load_ps_per_byte = 10;
  r.prologue_ps = 1e6;
  r.hbm_bytes_per_ps = 2, r.l2_bytes_per_ps = 5;
  return r;
}

template <class P>
void simulates_what_it_counts(const P& program, const Gpu& gpu) {
  if (program.ctas() == 0) return;  // all sequences without queries: nothing is launched
  const Traffic counted = traffic_of(program);
  L2Tags off({0, false});
  SmArray array;
  const LaunchResult simulated = simulate_launch(program, gpu, some_rates(), off, array);
  RC_ASSERT(simulated.hbm_read_bytes == counted.read_bytes());
  RC_ASSERT(simulated.hbm_write_bytes == counted.written_bytes());
  RC_ASSERT(simulated.loaded_bytes == counted.read_bytes());
  RC_ASSERT(simulated.stored_bytes == counted.written_bytes());
  RC_ASSERT(simulated.executed_flops == counted.mma_flops);
  RC_ASSERT(simulated.exponentials == counted.exps);
}

TEST(SimulatedTraffic, FlashAttentionLaunches) {
  const Gpu a100 = load_gpu("a100-sxm-80g"), h100 = load_gpu("h100-sxm");
  int combines = 0, copies = 0;
  test::over_shapes(200, "fa2 and fa3", [&] {
    const AttentionProblem p = test::random_problem();
    for (const auto& [launch, gpu] : {std::pair{fa2::launch(p, FlashCard::of(a100)), &a100},
                                      std::pair{fa3::launch(p, FlashCard::of(h100)), &h100}}) {
      combines += launch.combine.has_value(), copies += !launch.copies_after.empty();
      launch.for_each([&](const char*, const auto& program) { simulates_what_it_counts(program, *gpu); });
    }
  });
  EXPECT_GT(combines, 20);
  EXPECT_GT(copies, 10);
}

TEST(SimulatedTraffic, UnfusedAndFlashAttention1) {
  const Gpu a100 = load_gpu("a100-sxm-80g");
  test::over_shapes(100, "standard and fa1", [&] {
    const AttentionProblem p = test::random_problem({.window = false, .paged = false});
    const StandardAttention standard(p, {.key_mask = true, .dropout = true});
    standard.for_each([&](const char*, const auto& program) { simulates_what_it_counts(program, a100); });
    simulates_what_it_counts(FlashAttention1(p, 20000, true), a100);
  });
}

TEST(SimulatedTraffic, Gemm) {
  const Gpu h100 = load_gpu("h100-sxm");
  test::over_shapes(100, "gemm", [&] {
    GemmProgram p;
    p.m = *rc::gen::inRange(1, 2000), p.n = *rc::gen::inRange(1, 2000), p.k = *rc::gen::inRange(1, 3000);
    p.tile = kGemmTiles[*rc::gen::inRange<std::size_t>(0, std::size(kGemmTiles))];
    p.splits = *rc::gen::element(1, 2, 4);
    simulates_what_it_counts(p, h100);
    if (p.splits > 1) simulates_what_it_counts(SplitSumProgram{p.m, p.n, p.splits}, h100);
  });
}

}  // namespace
}  // namespace tessera
