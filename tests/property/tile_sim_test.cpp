// Laws of the tile grain over random programs and cards. That a better card is never slower, where it holds
// and where it does not: tile_monotone_test.cpp.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "kernels/tiles/traffic.hpp"
#include "sim/gpu/attention_sim.hpp"
#include "sim/gpu/program_sim.hpp"
#include "tests/support/tile_programs.hpp"

namespace tessera {
namespace {

// A GEMM whose CTAs are all walked, also where the last one did the same.
struct WalkedGemm : GemmProgram {
  static bool alike(const Cta&, const Cta&) = delete;
};

}  // namespace
template <>
inline constexpr bool equal_steps<WalkedGemm> = true;
namespace {

using test::any_attention;
using test::any_card;
using test::any_flash;
using test::any_gemm;

template <class P>
void check_bytes(const Gpu& gpu, const P& program) {
  const Traffic counted = traffic_of(program);
  L2Tags off = whole_l2(gpu, false), on = whole_l2(gpu, true);
  const LaunchResult without = simulate_program(gpu, program, off);
  RC_ASSERT(without.hbm_read_bytes == counted.read_bytes());
  RC_ASSERT(without.hbm_write_bytes == counted.written_bytes());
  const LaunchResult with = simulate_program(gpu, program, on);
  RC_ASSERT(with.loaded_bytes == counted.read_bytes());
  RC_ASSERT(with.stored_bytes == counted.written_bytes());
  RC_ASSERT(with.hbm_read_bytes <= with.loaded_bytes + 1);
  RC_ASSERT(with.hbm_write_bytes <= with.stored_bytes + 1);
  // Nothing is faster than the tensor cores at the maximum clock or than the pins.
  const double us = static_cast<double>(with.time_ps) * 1e-6;
  RC_ASSERT(us * gpu.peak_flops(DType::bf16) * 1e-6 >=
            static_cast<double>(with.executed_flops) *
                std::min(1.0, gpu.kernels->tile.attention.rates.mma_factor) * 0.7);
  RC_ASSERT(us * gpu.hbm_bytes_per_us() * 1.0001 >=
            static_cast<double>(with.hbm_read_bytes + with.hbm_write_bytes));
}

RC_GTEST_PROP(TileSim, BytesAreConservedAcrossLevels, ()) {
  const Gpu& gpu = any_card();
  if (*rc::gen::arbitrary<bool>())
    check_bytes(gpu, any_gemm());
  else
    check_bytes(gpu, any_flash(gpu));
}

RC_GTEST_PROP(TileSim, ACtaThatDoesAsTheLastOneRunsAsIfItWereWalked, ()) {
  const Gpu& gpu = any_card();
  const GemmProgram g = any_gemm();
  L2Tags tags = whole_l2(gpu, *rc::gen::arbitrary<bool>()), others = tags;
  const LaunchResult brief = simulate_program(gpu, g, tags);
  const LaunchResult full = simulate_program(gpu, WalkedGemm{g}, others);
  RC_ASSERT(brief.time_ps == full.time_ps);
  RC_ASSERT(brief.events == full.events);
  RC_ASSERT(brief.steps == full.steps);
  RC_ASSERT(brief.loaded_bytes == full.loaded_bytes);
  RC_ASSERT(brief.stored_bytes == full.stored_bytes);
  RC_ASSERT(brief.hbm_read_bytes == full.hbm_read_bytes);
  RC_ASSERT(brief.hbm_write_bytes == full.hbm_write_bytes);
  RC_ASSERT(brief.executed_flops == full.executed_flops);
}

// Whole calls with fitted parameters: never below what useful work and compulsory bytes allow.
RC_GTEST_PROP(TileSim, NoCallBeatsPhysics, ()) {
  const Gpu& gpu = any_card();
  AttentionProblem p = any_attention();
  AttentionSimOptions options;
  options.l2 = *rc::gen::element(L2Mode::off, L2Mode::on);
  const double us = simulate_attention(gpu, p, options).time.total;
  RC_ASSERT(us * gpu.peak_flops(DType::bf16) * 1e-6 >= p.useful_flops());
  const GemmShape shape{*rc::gen::inRange<std::int64_t>(1, 5000), *rc::gen::inRange<std::int64_t>(1, 5000),
                        *rc::gen::inRange<std::int64_t>(1, 5000), DType::bf16, *rc::gen::element(0, 1, 6)};
  RC_ASSERT(simulate_gemm(gpu, shape).time.total >= gemm_floor_us(gpu, shape));
}

}  // namespace
}  // namespace tessera
